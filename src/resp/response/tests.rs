use super::*;
use crate::resp::fuzz::responses;

fn one(stream: &[u8]) -> Reply {
    let (mut replies, error, _) = responses(&[stream], &ResponseLimits::default());
    assert_eq!((replies.len(), error), (1, None), "{}", stream.escape_ascii());
    replies.remove(0)
}

fn failure(stream: &[u8], limits: &ResponseLimits) -> Option<ResponseError> {
    responses(&[stream], limits).1
}

#[test]
fn every_type_is_read() {
    let cases: &[(&[u8], Reply)] = &[
        (b"+OK\r\n", Reply::Ok),
        (b"+PONG\r\n", Reply::Simple("PONG".into())),
        (b"+\r\n", Reply::Simple("".into())),
        (b"-ERR no\r\n", Reply::Error("ERR no".into())),
        (b"!8\r\nERR a\r\nb\r\n", Reply::Error("ERR a\r\nb".into())),
        (b":-42\r\n", Reply::Integer(-42)),
        (b":+42\r\n", Reply::Integer(42)),
        (b"$4\r\na\r\nb\r\n", Reply::Bulk(b"a\r\nb".to_vec())),
        (b"$0\r\n\r\n", Reply::Bulk(Vec::new())),
        (b"$-1\r\n", Reply::Null),
        (b"*-1\r\n", Reply::NullArray),
        (b"_\r\n", Reply::Null),
        (b"*0\r\n", Reply::Array(Vec::new())),
        (b"*2\r\n*1\r\n:1\r\n$-1\r\n", Reply::Array(vec![Reply::Array(vec![Reply::Integer(1)]), Reply::Null])),
        (b"%1\r\n+k\r\n~1\r\n#t\r\n", {
            Reply::Map(vec![(Reply::Simple("k".into()), Reply::Set(vec![Reply::Bool(true)]))])
        }),
        (b">1\r\n#f\r\n", Reply::Push(vec![Reply::Bool(false)])),
        (b",1.5e3\r\n", Reply::Double(1500.0)),
        (b",-inf\r\n", Reply::Double(f64::NEG_INFINITY)),
        (b"(-123456789012345678901234567890\r\n", Reply::BigNumber("-123456789012345678901234567890".into())),
        (b"=6\r\ntxt:hi\r\n", Reply::Verbatim { format: *b"txt", text: b"hi".to_vec() }),
    ];
    for (stream, reply) in cases {
        assert_eq!(one(stream), *reply, "{}", stream.escape_ascii());
    }
    assert!(matches!(one(b",nan\r\n"), Reply::Double(value) if value.is_nan()));
}

#[test]
fn attributes_are_skipped_wherever_they_stand() {
    assert_eq!(one(b"|1\r\n+ttl\r\n*2\r\n:1\r\n:2\r\n+OK\r\n"), Reply::Ok);
    assert_eq!(one(b"|0\r\n+OK\r\n"), Reply::Ok);
    let expected = Reply::Array(vec![Reply::Integer(1), Reply::Integer(2)]);
    assert_eq!(one(b"*2\r\n:1\r\n|1\r\n|1\r\n+a\r\n+b\r\n+k\r\n+v\r\n:2\r\n"), expected);
}

#[test]
fn replies_that_follow_each_other_are_given_one_by_one() {
    let mut parser = ResponseParser::default();
    let mut bytes = b"+OK\r\n:1\r\n$3\r\nab".as_slice();
    assert_eq!(parser.parse(&mut bytes), Ok(Some(Reply::Ok)));
    assert_eq!(bytes, b":1\r\n$3\r\nab");
    assert_eq!(parser.parse(&mut bytes), Ok(Some(Reply::Integer(1))));
    assert_eq!(parser.parse(&mut bytes), Ok(None));
    assert!(bytes.is_empty());
    let mut bytes = b"c\r\n+".as_slice();
    assert_eq!(parser.parse(&mut bytes), Ok(Some(Reply::Bulk(b"abc".to_vec()))));
}

#[test]
fn what_is_not_the_protocol_is_refused() {
    use ResponseError::*;
    let cases: &[(&[u8], ResponseError)] = &[
        (b"HTTP/1.1 400 Bad Request\r\n", UnknownType(b'H')),
        (b".\r\n", UnknownType(b'.')),
        (b"$?\r\n;4\r\n", Streamed(b'$')),
        (b"*?\r\n", Streamed(b'*')),
        (b"*1\r\n%?\r\n", Streamed(b'%')),
        (b"~?\r\n", Streamed(b'~')),
        (b"$-2\r\n", InvalidLength(b'$')),
        (b"*x\r\n", InvalidLength(b'*')),
        (b"%-1\r\n", InvalidLength(b'%')),
        (b"!-1\r\n", InvalidLength(b'!')),
        (b":1.5\r\n", InvalidValue(b':')),
        (b":\r\n", InvalidValue(b':')),
        (b"#x\r\n", InvalidValue(b'#')),
        (b"_x\r\n", InvalidValue(b'_')),
        (b",\r\n", InvalidValue(b',')),
        (b",infinity\r\n", InvalidValue(b',')),
        (b"(1x\r\n", InvalidValue(b'(')),
        (b"(-\r\n", InvalidValue(b'(')),
        (b"=3\r\ntxt\r\n", InvalidValue(b'=')),
        (b"+OK\n", MissingLineEnd),
        (b"\r\n", MissingLineEnd),
        (b"$2\r\nabc\r\n", MissingLineEnd),
    ];
    for (stream, error) in cases {
        assert_eq!(failure(stream, &ResponseLimits::default()).as_ref(), Some(error), "{}", stream.escape_ascii());
    }
    assert_eq!(Streamed(b'$').to_string(), "streamed replies ('$?') are not supported");
    assert_eq!(UnknownType(0).to_string(), "unknown reply type '\\x00'");
}

#[test]
fn a_server_cannot_take_more_memory_than_the_limits_allow() {
    let limits =
        ResponseLimits { depth_max: 2, line_bytes_max: 16, bulk_bytes_max: 10, items_max: 6, reply_bytes_max: 40 };
    let cases: [(&[u8], &str); 8] = [
        (b"*1\r\n*1\r\n*1\r\n", "depth_max"),
        (b"+abcdefghijklmno", "line_bytes_max"),
        (b"$11\r\n", "bulk_bytes_max"),
        (b"*6\r\n", "items_max"),
        (b"%3\r\n", "items_max"),
        (b"*2\r\n*3\r\n:1\r\n:1\r\n:1\r\n*2\r\n", "items_max"),
        (b"|2\r\n:1\r\n:1\r\n:1\r\n:1\r\n*2\r\n", "items_max"),
        (b"*4\r\n$10\r\n0123456789\r\n$10\r\n0123456789\r\n$10\r\n", "reply_bytes_max"),
    ];
    for (stream, limit) in cases {
        assert_eq!(failure(stream, &limits), Some(ResponseError::TooBig(limit)), "{}", stream.escape_ascii());
    }
    // Each reply has its own allowance.
    let two = b"*2\r\n*2\r\n:1\r\n:1\r\n$10\r\n0123456789\r\n".repeat(2);
    assert_eq!(failure(&two, &limits), None);
}

#[test]
fn an_announced_size_takes_little_memory() {
    let mut parser = ResponseParser::default();
    assert_eq!(parser.parse(&mut b"*16000000\r\n$536870912\r\nabc".as_slice()), Ok(None));
    assert_eq!(parser.frames[0].items.capacity(), ITEMS_RESERVED_MAX);
    assert_eq!(parser.body.expect("begun").bytes.capacity(), BODY_BYTES_RESERVED_MAX);
}

#[test]
fn a_large_reply_in_single_bytes_costs_its_size_once() {
    let mut stream = b"*2\r\n$1000000\r\n".to_vec();
    stream.resize(stream.len() + 1_000_000, b'\n');
    stream.extend_from_slice(b"\r\n+");
    stream.resize(stream.len() + 60_000, b'a');
    stream.extend_from_slice(b"\r\n");
    let pieces: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(responses(&pieces, &ResponseLimits::default()), (vec![one(&stream)], None, 0));
}
