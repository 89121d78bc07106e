//! The scripts that run in Redis. Each is one step for all clients of the server.

/// Number of scripts.
pub(crate) const COUNT: usize = 6;

/// All scripts, by their numbers.
const ALL: [&str; COUNT] = [
    APPEND_TEXT,
    SINCE_TEXT,
    ENTER_TEXT,
    LEAVE_TEXT,
    BEAT_TEXT,
    MEMBERS_TEXT,
];

/// All scripts. In a cluster, messages go to the node of their topic only.
pub(crate) fn all(is_cluster: bool) -> Vec<String> {
    let text = |text: &&str| match is_cluster {
        true => text.replace("'PUBLISH'", "'SPUBLISH'"),
        false => (*text).to_owned(),
    };
    ALL.iter().map(text).collect()
}

pub(crate) const APPEND: usize = 0;
pub(crate) const SINCE: usize = 1;
pub(crate) const ENTER: usize = 2;
pub(crate) const LEAVE: usize = 3;
pub(crate) const BEAT: usize = 4;
pub(crate) const MEMBERS: usize = 5;

/// The name of the data of the server: another one after a restart or a failover, which may have lost messages. KEYS: generation.
/// ARGV: a new name, 1 if restarts lose nothing.
///
/// A failover gives the group of a master and its replicas another name (`master_replid`), a restart the process (`run_id`).
pub(crate) const BEGIN_TEXT: &str = r"
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
local group = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or ''
local is = run .. ':' .. group
local was = redis.call('HMGET', KEYS[1], 'g', 'i')
if was[1] and (was[2] == is or ARGV[2] == '1') then return was[1] end
redis.call('HSET', KEYS[1], 'g', ARGV[1], 'i', is)
return ARGV[1]
";

/// KEYS: stream, meta, last message of the process, generation. ARGV: new epoch, message, its number, the number that was sent
/// before and has no reply, number of messages, ms that the stream is kept, ms that meta is kept, channel.
///
/// Numbers of a process rise. One that is not above the last one is a repetition. If the one before was refused, this one is,
/// too, so that they keep their order. 0 is not looked at. The number is written first: Redis looks for a lack of memory and the
/// like at the first write of a script.
///
/// Meta has the epoch (e), the last offset (o) and the generation (r). Without meta, or in another generation, messages may
/// be lost: there is a new epoch. The message is published as epoch, offset and message, joined by colons.
const APPEND_TEXT: &str = r"
local r = redis.call('HGET', KEYS[4], 'g') or '-'
local number = tonumber(ARGV[3])
if number > 0 then
  local d = redis.call('HMGET', KEYS[3], 'r', 'n')
  local last = d[1] == r and tonumber(d[2]) or 0
  if number <= last then return 0 end
  if tonumber(ARGV[4]) > last then return redis.error_reply('PREVIOUS the message before was refused') end
  redis.call('HSET', KEYS[3], 'r', r, 'n', ARGV[3])
  redis.call('PEXPIRE', KEYS[3], ARGV[7])
end
local m = redis.call('HMGET', KEYS[2], 'e', 'o', 'r')
local e, o = m[1], tonumber(m[2] or 0)
if not e or m[3] ~= r then
  e, o = ARGV[1], 0
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[2], 'e', e, 'r', r)
end
o = o + 1
local s = string.format('%.0f', o)
redis.call('HSET', KEYS[2], 'o', s)
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[5], s .. '-0', 'm', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
redis.call('PUBLISH', ARGV[8], e .. ':' .. s .. ':' .. ARGV[2])
return 1
";

/// KEYS: stream, meta, generation. ARGV: new epoch, ms that meta is kept, ms that it is kept if there was no message, kind (`now`,
/// `last` or `after`), epoch, number or offset, limit, most bytes of the messages.
/// The result: epoch, last offset, and the messages, or 0 if some are lost. If they have too many bytes, they are lost; of the last ones,
/// as many are read as fit. The process would close the connection, and read the same again.
const SINCE_TEXT: &str = r"
local r = redis.call('HGET', KEYS[3], 'g') or '-'
local m = redis.call('HMGET', KEYS[2], 'e', 'o', 'r')
local e, o = m[1], tonumber(m[2] or 0)
if not e or m[3] ~= r then
  e, o = ARGV[1], 0
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[2], 'e', e, 'o', '0', 'r', r)
end
redis.call('PEXPIRE', KEYS[2], o > 0 and ARGV[2] or ARGV[3])
local s, n, limit = string.format('%.0f', o), tonumber(ARGV[6]), tonumber(ARGV[7])
local function first(found)
  local left, i = tonumber(ARGV[8]), #found + 1
  while i > 1 do
    left = left - 100 - string.len(found[i - 1][2][2])
    if left < 0 then return i end
    i = i - 1
  end
  return 1
end
if ARGV[4] == 'after' then
  if ARGV[5] ~= e or n > o or o - n > limit then return {e, s, 0} end
  if n == o then return {e, s, {}} end
  local found = redis.call('XRANGE', KEYS[1], string.format('%.0f-0', n + 1), '+')
  if #found ~= o - n or first(found) > 1 then return {e, s, 0} end
  return {e, s, found}
end
n = math.min(n, limit, o)
if ARGV[4] == 'now' or n < 1 then return {e, s, {}} end
local found = redis.call('XRANGE', KEYS[1], string.format('%.0f-0', o - n + 1), '+')
local from = first(found)
if from == 1 then return {e, s, found} end
local rest = {}
for i = from, #found do rest[#rest + 1] = found[i] end
return {e, s, rest}
";

/// KEYS: entries of the node, nodes. ARGV: node, ms of the lease, what the names of persons and channels begin with, and entries.
///
/// If no node has a lease, the server was out of reach of all: then those that had one are taken to be there, here and below. A node
/// that is new gets none here then, so that this holds until the first sign of life.
///
/// An entry is the length of the topic, a colon, the topic and the person. A person has the list of its nodes. Without a list it
/// was not there, or was reported as gone.
const ENTER_TEXT: &str = r"
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local none = redis.call('ZCOUNT', KEYS[2], now + 1, '+inf') == 0
redis.call('ZADD', KEYS[2], 'NX', none and now or now + ARGV[2], ARGV[1])
for i = 5, #ARGV do
  local x = ARGV[i]
  local z = string.find(x, ':', 1, true)
  local e = z + tonumber(string.sub(x, 1, z - 1))
  local topic, person = string.sub(x, z + 1, e), string.sub(x, e + 1)
  local list = redis.call('HGET', ARGV[3] .. topic, person)
  local keep = {ARGV[1]}
  for n in string.gmatch(list or '', '[^,]+') do
    local until_ = redis.call('ZSCORE', KEYS[2], n)
    if n ~= ARGV[1] and until_ and (none or tonumber(until_) > now) then keep[#keep + 1] = n end
  end
  redis.call('HSET', ARGV[3] .. topic, person, table.concat(keep, ','))
  redis.call('SADD', KEYS[1], x)
  if not list then redis.call('PUBLISH', ARGV[4] .. topic, 'j' .. person) end
end
return 1
";

/// KEYS and ARGV as above.
const LEAVE_TEXT: &str = r"
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local none = redis.call('ZCOUNT', KEYS[2], now + 1, '+inf') == 0
for i = 5, #ARGV do
  local x = ARGV[i]
  local z = string.find(x, ':', 1, true)
  local e = z + tonumber(string.sub(x, 1, z - 1))
  local topic, person = string.sub(x, z + 1, e), string.sub(x, e + 1)
  redis.call('SREM', KEYS[1], x)
  local list = redis.call('HGET', ARGV[3] .. topic, person)
  if list then
    local keep = {}
    for n in string.gmatch(list, '[^,]+') do
      local until_ = redis.call('ZSCORE', KEYS[2], n)
      if n ~= ARGV[1] and until_ and (none or tonumber(until_) > now) then keep[#keep + 1] = n end
    end
    if #keep == 0 then
      redis.call('HDEL', ARGV[3] .. topic, person)
      redis.call('PUBLISH', ARGV[4] .. topic, 'l' .. person)
    else
      redis.call('HSET', ARGV[3] .. topic, person, table.concat(keep, ','))
    end
  end
end
return 1
";

/// A sign of life, and the end of nodes that have given none. KEYS: nodes. ARGV: node, ms of the lease, what the names of persons,
/// entries and channels begin with.
///
/// If no node has a lease, all get another one, so that no person is told to have gone who is there. A node that is new gives the others
/// half of one: it may be the only one, in the place of one that has died. In half a lease, each node gives a sign of life. So a node that
/// has given none for so long gives them half a lease, too: what kept it may have kept those whose lease has ended already.
///
/// At most 1,000 entries are removed at once. The result: 1 if the lease of the node had not ended, and 1 if there is more to remove.
const BEAT_TEXT: &str = r"
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local old = redis.call('ZSCORE', KEYS[1], ARGV[1])
local none = redis.call('ZCOUNT', KEYS[1], now + 1, '+inf') == 0
local is_late = none
if old then is_late = tonumber(old) < now + ARGV[2] / 2 end
if is_late then
  local rest = now + math.floor(old and none and ARGV[2] or ARGV[2] / 2)
  for _, n in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', rest, 'LIMIT', 0, 10000)) do
    redis.call('ZADD', KEYS[1], rest, n)
  end
end
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
local is_known = old and tonumber(old) > now and 1 or 0
local is_more = redis.call('ZCOUNT', KEYS[1], '-inf', now) > 0 and 1 or 0
return {is_known, is_more}
";

/// KEYS: persons of the topic, nodes. ARGV: most names, most persons that are looked at, most bytes of the names. The result: the number
/// of persons of nodes with a lease, and names. If there are more persons than are looked at, those of nodes without a lease may be counted, too.
const MEMBERS_TEXT: &str = r"
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local none = redis.call('ZCOUNT', KEYS[2], now + 1, '+inf') == 0
local most, look, left = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local alive, names, seen = {}, {}, {}
local count, looked, cursor = 0, 0, '0'
repeat
  local part = redis.call('HSCAN', KEYS[1], cursor, 'COUNT', 1000)
  cursor = part[1]
  for i = 1, #part[2], 2 do
    local name = part[2][i]
    if not seen[name] then
      seen[name] = true
      looked = looked + 1
      for n in string.gmatch(part[2][i + 1], '[^,]+') do
        if alive[n] == nil then
          local until_ = redis.call('ZSCORE', KEYS[2], n)
          alive[n] = until_ and (none or tonumber(until_) > now) or false
        end
        if alive[n] then
          count = count + 1
          left = left - string.len(name) - 16
          if count <= most and left >= 0 then names[count] = name end
          break
        end
      end
    end
  end
until cursor == '0' or looked >= look
if cursor ~= '0' then count = count + redis.call('HLEN', KEYS[1]) - looked end
return {count, names}
";
