//! The scripts that run in Redis. Each is one step for all clients of the server.

/// All scripts, by their numbers.
pub(crate) const ALL: [&str; 6] = [
    APPEND_TEXT,
    SINCE_TEXT,
    ENTER_TEXT,
    LEAVE_TEXT,
    BEAT_TEXT,
    MEMBERS_TEXT,
];
pub(crate) const APPEND: usize = 0;
pub(crate) const SINCE: usize = 1;
pub(crate) const ENTER: usize = 2;
pub(crate) const LEAVE: usize = 3;
pub(crate) const BEAT: usize = 4;
pub(crate) const MEMBERS: usize = 5;

/// KEYS: stream, meta. ARGV: run, new epoch, message, origin (node and number), number of messages, ms that the stream is kept,
/// ms that meta is kept, channel, 1 if it is sent again.
///
/// Meta has the epoch (e), the last offset (o) and the process of the server (r). Without meta, or after a restart, messages may
/// be lost: there is a new epoch. The message is published as epoch, offset and message, joined by colons.
const APPEND_TEXT: &str = r"
local m = redis.call('HMGET', KEYS[2], 'e', 'o', 'r')
local e, o = m[1], tonumber(m[2] or 0)
if not e or m[3] ~= ARGV[1] then
  e, o = ARGV[2], 0
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[2], 'e', e, 'r', ARGV[1])
elseif ARGV[9] == '1' then
  for _, x in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1000)) do
    if x[2][4] == ARGV[4] then return 0 end
  end
end
o = o + 1
local s = string.format('%.0f', o)
redis.call('HSET', KEYS[2], 'o', s)
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[5], s .. '-0', 'm', ARGV[3], 'n', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
redis.call('PUBLISH', ARGV[8], e .. ':' .. s .. ':' .. ARGV[3])
return 1
";

/// KEYS: stream, meta. ARGV: run, new epoch, ms that meta is kept, kind (`now`, `last` or `after`), epoch, number or offset, limit.
/// The result: epoch, last offset, and the messages, or 0 if some are lost.
const SINCE_TEXT: &str = r"
local m = redis.call('HMGET', KEYS[2], 'e', 'o', 'r')
local e, o = m[1], tonumber(m[2] or 0)
if not e or m[3] ~= ARGV[1] then
  e, o = ARGV[2], 0
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[2], 'e', e, 'o', '0', 'r', ARGV[1])
end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local s, n, limit = string.format('%.0f', o), tonumber(ARGV[6]), tonumber(ARGV[7])
if ARGV[4] == 'after' then
  if ARGV[5] ~= e or n > o or o - n > limit then return {e, s, 0} end
  if n == o then return {e, s, {}} end
  local found = redis.call('XRANGE', KEYS[1], string.format('%.0f-0', n + 1), '+')
  if #found ~= o - n then return {e, s, 0} end
  return {e, s, found}
end
n = math.min(n, limit, o)
if ARGV[4] == 'now' or n < 1 then return {e, s, {}} end
return {e, s, redis.call('XRANGE', KEYS[1], string.format('%.0f-0', o - n + 1), '+')}
";

/// KEYS: persons of the topic, entries of the node, nodes. ARGV: node, topic, person, channel, ms of the lease.
///
/// An entry of a node is the length of the topic, a colon, the topic and the person. A person has the list of its nodes. Without a list it was not there, or was reported as gone.
const ENTER_TEXT: &str = r"
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local list = redis.call('HGET', KEYS[1], ARGV[3])
local keep = {ARGV[1]}
for n in string.gmatch(list or '', '[^,]+') do
  local until_ = redis.call('ZSCORE', KEYS[3], n)
  if n ~= ARGV[1] and until_ and tonumber(until_) > now then keep[#keep + 1] = n end
end
redis.call('HSET', KEYS[1], ARGV[3], table.concat(keep, ','))
redis.call('SADD', KEYS[2], #ARGV[2] .. ':' .. ARGV[2] .. ARGV[3])
redis.call('ZADD', KEYS[3], 'NX', now + ARGV[5], ARGV[1])
if not list then redis.call('PUBLISH', ARGV[4], 'j' .. ARGV[3]) end
return 1
";

/// KEYS and ARGV as above.
const LEAVE_TEXT: &str = r"
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('SREM', KEYS[2], #ARGV[2] .. ':' .. ARGV[2] .. ARGV[3])
local list = redis.call('HGET', KEYS[1], ARGV[3])
if not list then return 0 end
local keep = {}
for n in string.gmatch(list, '[^,]+') do
  local until_ = redis.call('ZSCORE', KEYS[3], n)
  if n ~= ARGV[1] and until_ and tonumber(until_) > now then keep[#keep + 1] = n end
end
if #keep == 0 then
  redis.call('HDEL', KEYS[1], ARGV[3])
  redis.call('PUBLISH', ARGV[4], 'l' .. ARGV[3])
else
  redis.call('HSET', KEYS[1], ARGV[3], table.concat(keep, ','))
end
return 1
";

/// A sign of life, and the end of nodes that have given none. KEYS: nodes. ARGV: node, ms of the lease, what the names of persons,
/// entries and channels begin with.
///
/// The result is 1 if the lease of the node had not ended. At most 1,000 entries are removed at once.
const BEAT_TEXT: &str = r"
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local old = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
for _, d in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1)) do
  for _, x in ipairs(redis.call('SPOP', ARGV[4] .. d, 1000)) do
    local z = string.find(x, ':', 1, true)
    local n = z + tonumber(string.sub(x, 1, z - 1))
    local topic, person = string.sub(x, z + 1, n), string.sub(x, n + 1)
    local list = redis.call('HGET', ARGV[3] .. topic, person)
    if list then
      local keep = {}
      for n in string.gmatch(list, '[^,]+') do
        if n ~= d then keep[#keep + 1] = n end
      end
      if #keep == 0 then
        redis.call('HDEL', ARGV[3] .. topic, person)
        redis.call('PUBLISH', ARGV[5] .. topic, 'l' .. person)
      else
        redis.call('HSET', ARGV[3] .. topic, person, table.concat(keep, ','))
      end
    end
  end
  if redis.call('SCARD', ARGV[4] .. d) == 0 then redis.call('ZREM', KEYS[1], d) end
end
if old and tonumber(old) > now then return 1 end
return 0
";

/// KEYS: persons of the topic, nodes. The persons of nodes with a lease.
const MEMBERS_TEXT: &str = r"
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local alive, found = {}, {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  for n in string.gmatch(all[i + 1], '[^,]+') do
    if alive[n] == nil then
      local until_ = redis.call('ZSCORE', KEYS[2], n)
      alive[n] = until_ and tonumber(until_) > now or false
    end
    if alive[n] then
      found[#found + 1] = all[i]
      break
    end
  end
end
return found
";
