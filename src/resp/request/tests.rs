use super::*;
use crate::resp::fuzz::requests;

fn unauthenticated() -> Limits {
    Limits { unauthenticated: true, ..Limits::default() }
}

/// The requests in `stream` as text; a request without arguments is "".
fn texts(stream: &[u8]) -> Vec<String> {
    let (found, error, _) = requests(&[stream], &Limits::default());
    assert_eq!(error, None);
    found.into_iter().map(|args| args.join(&b' ').escape_ascii().to_string()).collect()
}

/// The error that ends `stream`, and how many requests came before it.
fn failure(stream: &[u8], limits: &Limits) -> (usize, String) {
    let (found, error, _) = requests(&[stream], limits);
    (found.len(), error.map_or("no error".into(), |error| error.to_string()))
}

#[test]
fn a_pipeline_is_taken_apart() {
    let stream =
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n*1\r\n$4\r\nPING\r\nGET k\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n";
    assert_eq!(texts(stream), [r"SET k a\r\nb", "PING", "GET k", "GET "]);
}

#[test]
fn nothing_to_answer_is_consumed() {
    assert_eq!(texts(b"*0\r\n*-1\r\n*-9223372036854775808\r\n\r\n\n  \t \r\nPING\n"), ["", "", "", "", "", "", "PING"]);
}

#[test]
fn the_arguments_are_slices_of_the_bytes_that_came() {
    let stream = b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\nrest";
    let mut parser = RequestParser::new();
    assert_eq!(parser.parse(stream, &Limits::default()), Ok(Parsed::Complete(22)));
    let args = parser.args(stream);
    assert_eq!((args.len(), args.is_empty()), (2, false));
    assert_eq!((&args[0], args.get(1), args.get(2)), (b"ECHO".as_slice(), Some(b"hi".as_slice()), None));
    assert!(std::ptr::eq(&args[1], &stream[18..20]));
    assert_eq!(args.iter().next_back(), Some(b"hi".as_slice()));
}

#[test]
fn an_inline_request_is_unquoted() {
    let stream = b"SET \"a b\" '\\x41' \"\\x41\"\r\nPING\n";
    let mut parser = RequestParser::new();
    assert_eq!(parser.parse(stream, &Limits::default()), Ok(Parsed::Complete(25)));
    let args: Vec<&[u8]> = parser.args(stream).iter().collect();
    assert_eq!(args, [b"SET".as_slice(), b"a b", b"\\x41", b"A"]);
}

#[test]
fn memory_of_a_large_request_is_given_back_once_its_arguments_are_not_needed() {
    let line = [b"a ".repeat(30_000), b"\n".to_vec()].concat();
    let frame = [b"*50000\r\n".to_vec(), b"$1\r\nk\r\n".repeat(50_000)].concat();
    for stream in [line, frame] {
        let mut parser = RequestParser::new();
        assert_eq!(parser.parse(&stream, &Limits::default()), Ok(Parsed::Complete(stream.len())));
        assert!(parser.bytes_kept() > 16 * parser.args(&stream).len());
        parser.tidy();
        assert!(parser.bytes_kept() <= 2048, "{}", parser.bytes_kept());
        // What has come of the next one is needed.
        let half = &stream[..stream.len() - 2];
        assert_eq!(parser.parse(half, &Limits::default()), Ok(Parsed::NeedMore));
        parser.tidy();
        assert_eq!(parser.parse(&stream, &Limits::default()), Ok(Parsed::Complete(stream.len())));
        assert!(parser.args(&stream).len() >= 30_000);
    }
}

#[test]
fn before_login_a_line_is_as_short_as_a_frame() {
    let words = |count: usize| [b"a ".repeat(count), b"\r\n".to_vec()].concat();
    assert_eq!(failure(&words(10), &unauthenticated()).1, "no error");
    assert_eq!(failure(&words(11), &unauthenticated()).1, "Protocol error: unauthenticated multibulk length");
    assert_eq!(failure(&words(11), &Limits::default()).1, "no error");
    let long = |count: usize| [b"a".repeat(count), b"\n".to_vec()].concat();
    assert_eq!(failure(&long(16 * 1024), &unauthenticated()).1, "no error");
    assert_eq!(failure(&long(16 * 1024 + 1), &unauthenticated()).1, "Protocol error: too big inline request");
    assert_eq!(failure(&long(16 * 1024 + 1), &Limits::default()).1, "no error");
}

#[test]
fn the_two_bytes_behind_an_argument_are_not_looked_at() {
    assert_eq!(texts(b"*2\r\n$3\r\nGET..$1\rxk\r\n"), ["GET k"]);
}

#[test]
fn broken_frames_get_the_words_of_redis() {
    let cases: &[(&[u8], &str)] = &[
        (b"*abc\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"*1 \r\n", "invalid multibulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*1\r\n+OK\r\n", "expected '$', got '+'"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"*1\r\n\r\n", "expected '$', got ' '"),
        (b"*1\r\n*1\r\n", "expected '$', got '*'"),
        (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$x\r\n", "invalid bulk length"),
        (b"*1\r\n$03\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n$9223372036854775807\r\n", "invalid bulk length"),
        (b"SET \"a\r\n", "unbalanced quotes in request"),
        (b"'a'b\n", "unbalanced quotes in request"),
    ];
    for (stream, text) in cases {
        let behind_a_good_one = [b"PING\r\n", *stream].concat();
        let expected = (1, format!("Protocol error: {text}"));
        assert_eq!(failure(&behind_a_good_one, &Limits::default()), expected, "{}", stream.escape_ascii());
    }
}

#[test]
fn lines_without_an_end_are_refused_at_64_kib() {
    // What stands before the line, how it begins, and what is said of it.
    let cases: [(&[u8], u8, &str); 3] = [
        (b"", b'a', "too big inline request"),
        (b"", b'*', "too big mbulk count string"),
        (b"*1\r\n", b'$', "too big bulk count string"),
    ];
    for (before, first, text) in cases {
        let mut stream = before.to_vec();
        stream.push(first);
        stream.resize(before.len() + 65_536, b'1');
        assert_eq!(failure(&stream, &Limits::default()).1, "no error", "{text}");
        stream.push(b'1');
        assert_eq!(failure(&stream, &Limits::default()).1, format!("Protocol error: {text}"));
    }
    let mut longest = vec![b'a'; 65_536];
    longest.push(b'\n');
    assert_eq!(texts(&longest)[0].len(), 65_536);
}

#[test]
fn before_the_login_little_is_accepted() {
    let ok = b"*10\r\n$16384\r\n";
    assert_eq!(failure(ok, &unauthenticated()).1, "no error");
    let cases: [(&[u8], &str); 5] = [
        (b"*11\r\n", "unauthenticated multibulk length"),
        (b"*2147483647\r\n", "unauthenticated multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*1\r\n$16385\r\n", "unauthenticated bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
    ];
    for (stream, text) in cases {
        assert_eq!(failure(stream, &unauthenticated()).1, format!("Protocol error: {text}"));
    }
    assert_eq!(failure(b"*11\r\n$16385\r\n", &Limits::default()).1, "no error");
}

/// A million calls that each looked at all bytes again would not end within a test's patience.
#[test]
fn a_large_request_in_single_bytes_costs_its_size_once() {
    let mut large = b"*2\r\n$3\r\nGET\r\n$1000000\r\n".to_vec();
    large.resize(large.len() + 1_000_000, b'\r');
    large.extend_from_slice(b"\r\n");
    let mut many = b"*100000\r\n".to_vec();
    many.extend(std::iter::repeat_n(b"$1\r\nx\r\n", 100_000).flatten());
    let mut line = vec![b'a'; 60_000];
    line.push(b'\n');
    for stream in [large, many, line] {
        let mut parser = RequestParser::new();
        for arrived in 0..stream.len() {
            assert_eq!(parser.parse(&stream[..arrived], &Limits::default()), Ok(Parsed::NeedMore));
        }
        assert_eq!(parser.parse(&stream, &Limits::default()), Ok(Parsed::Complete(stream.len())));
    }
}

#[test]
fn memory_is_kept_for_the_next_request_unless_it_is_much() {
    let limits = Limits::default();
    let mut parser = RequestParser::new();
    let set = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
    assert!(parser.parse(set, &limits).is_ok());
    let kept = parser.spans.as_ptr();
    assert!(parser.parse(set, &limits).is_ok());
    assert_eq!(parser.spans.as_ptr(), kept);

    let mut many = b"*1000\r\n".to_vec();
    many.extend(std::iter::repeat_n(b"$0\r\n\r\n", 1000).flatten());
    assert_eq!(parser.parse(&many, &limits), Ok(Parsed::Complete(many.len())));
    let line = [vec![b'a'; 10_000], b"\n".to_vec()].concat();
    assert_eq!(parser.parse(&line, &limits), Ok(Parsed::Complete(line.len())));
    assert_eq!(parser.parse(b"", &limits), Ok(Parsed::NeedMore));
    assert!(parser.spans.capacity() <= SPANS_KEPT && parser.inline_text.capacity() <= INLINE_BYTES_KEPT);
}

#[test]
fn an_announced_size_takes_no_memory() {
    let mut parser = RequestParser::new();
    assert_eq!(parser.parse(b"*1048576\r\n$536870912\r\nabc", &Limits::default()), Ok(Parsed::NeedMore));
    assert_eq!(parser.spans.capacity(), 0);
}
