//! What waits, and what is sent at once.

use super::*;
use alloc::sync::Arc;

const NOW: Seconds = Seconds::START;

#[test]
fn while_memory_is_short_little_waits() {
    let policy = |backlog_policy| WsLimits::default().backlog_policy(backlog_policy);
    for policy in [BacklogPolicy::DropNewest, BacklogPolicy::DropOldest].map(policy) {
        let mut kit = <SendContext>::default();
        let mut ws = WsConn::new(NOW, Arc::new(policy), None, None);
        let payload = vec![b'x'; SHORT];
        let message = PreparedMessage::new(&payload);
        kit.short = true;
        // One in any case, or nothing could be sent at all.
        assert_eq!(ws.send_prepared(&message, &mut kit, NOW), Sent::Queued);
        assert_eq!(ws.send_prepared(&message, &mut kit, NOW), Sent::Full);
        kit.short = false;
        assert_eq!(ws.send_prepared(&message, &mut kit, NOW), Sent::Queued);
        assert_eq!(ws.backlog(), 2 * message.frame_len());
    }
}

#[test]
fn bytes_that_the_socket_does_not_take_wait() {
    let payload = vec![b'x'; AT_ONCE];
    let mut frame = Vec::new();
    let opcode = Message::from(&payload).data();
    frame::write_header(OpCode::Data(opcode), false, payload.len(), &mut frame);
    frame.extend_from_slice(&payload);
    let (mut kit, mut offered) = (<SendContext>::default(), 0);
    for taken in [0, 1, 3, 4, 5, 1000, frame.len() - 1, frame.len()] {
        let mut ws = WsConn::new(NOW, Arc::default(), None, None);
        let mut at_once = |pieces: [&[u8]; 2]| {
            assert!(pieces.concat() == frame);
            offered += 1;
            taken
        };
        let sent = ws.send((&payload).into(), &mut kit, NOW, &mut at_once);
        assert_eq!(sent, Sent::Queued);
        assert_eq!(ws.backlog(), frame.len() - taken);
        let rest = ws.output().map(|output| {
            let mark = WriteBuf::<NoSegment>::default().mark();
            output.since(mark).to_vec()
        });
        assert!(rest.unwrap_or_default() == frame[taken..], "{taken}");
        assert_eq!(core::mem::take(&mut kit.sent), taken as u64);
        // What comes behind it may not overtake it.
        if ws.backlog() > 0 {
            ws.send((&payload).into(), &mut kit, NOW, |_| unreachable!());
            assert_eq!(ws.backlog(), 2 * frame.len() - taken);
        }
    }
    assert_eq!(offered, 8);
    let mut ws = WsConn::new(NOW, Arc::default(), None, None);
    let small = (&payload[1..]).into();
    ws.send(small, &mut kit, NOW, |_| unreachable!("not worth a call"));
    ws.close(1000, "", NOW);
    let large = (&payload).into();
    let sent = ws.send(large, &mut kit, NOW, |_| unreachable!("closing"));
    assert_eq!(sent, Sent::Closed);
}
