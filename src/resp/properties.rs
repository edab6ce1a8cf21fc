//! Property tests over both directions: generated streams, well-formed and broken, cut anywhere.

use proptest::collection::vec;
use proptest::prelude::*;

use super::encode::{encode, encode_command};
use super::fuzz::{fuzz_requests, fuzz_responses, requests, responses};
use super::reply::{Reply, Version};
use super::request::Limits;
use super::response::ResponseLimits;

fn request() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(prop_oneof![vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..3000)], 1..6)
}

/// A piece of a stream that looks like the protocol: whole frames, and the ways in which they go wrong.
fn request_fragment() -> impl Strategy<Value = Vec<u8>> {
    let text = |pattern: &'static str| proptest::string::bytes_regex(pattern).unwrap();
    prop_oneof![
        4 => request().prop_map(|args| {
            let mut out = Vec::new();
            encode_command(&args, &mut out);
            out
        }),
        2 => text(r#"(?-u)[a-zA-Z0-9 "'\\x]{0,50}\r?\n"#),
        1 => text(r"(?-u)\*-?[0-9]{0,10}\r\n"),
        1 => text(r"(?-u)\$-?[0-9]{0,10}\r\n"),
        1 => text(r"(?-u)[*$][0-9]{1,60}"),
        1 => text(r"(?-u)[\r\n *$\x00\xff]{1,3}"),
        1 => vec(any::<u8>(), 0..30),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let line = "[^\r\n]{0,12}";
    let leaf = prop_oneof![
        Just(Reply::Ok),
        line.prop_filter("decoded as Ok", |text| text != "OK").prop_map(|text| Reply::Simple(text.into())),
        line.prop_map(|text| Reply::Error(text.into())),
        any::<i64>().prop_map(Reply::Integer),
        vec(any::<u8>(), 0..40).prop_map(Reply::Bulk),
        Just(Reply::Null),
        any::<f64>().prop_filter("differs from itself", |value| !value.is_nan()).prop_map(Reply::Double),
        any::<bool>().prop_map(Reply::Bool),
        "-?[0-9]{1,40}".prop_map(Reply::BigNumber),
        (any::<[u8; 3]>(), vec(any::<u8>(), 0..20)).prop_map(|(format, text)| Reply::Verbatim { format, text }),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Reply::Array),
            vec(inner.clone(), 0..6).prop_map(Reply::Set),
            vec(inner.clone(), 0..6).prop_map(Reply::Push),
            vec((inner.clone(), inner), 0..4).prop_map(Reply::Map),
        ]
    })
}

fn reply_fragment() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => reply().prop_map(|reply| {
            let mut out = Vec::new();
            encode(&reply, Version::Resp3, &mut out);
            out
        }),
        1 => proptest::string::bytes_regex(r"(?-u)[-+:$*_#,(=!%~>|;.][-+0-9a-f.?]{0,12}\r\n").unwrap(),
        1 => vec(any::<u8>(), 0..30),
    ]
}

fn behind_choices(choices: [u8; 2], fragments: &[Vec<u8>]) -> Vec<u8> {
    [choices.to_vec(), fragments.concat()].concat()
}

proptest! {
    #[test]
    fn requests_arrive_as_they_were_sent_however_they_are_cut(
        sent in vec(request(), 0..6),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut stream = Vec::new();
        for args in &sent {
            encode_command(args, &mut stream);
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        prop_assert_eq!(requests(&pieces, &Limits::default()), (sent, None, 0));
    }

    #[test]
    fn the_cuts_never_change_what_a_stream_of_requests_means(
        choices: [u8; 2],
        fragments in vec(request_fragment(), 0..8),
    ) {
        fuzz_requests(&behind_choices(choices, &fragments));
    }

    #[test]
    fn no_bytes_make_the_request_parser_panic(data in vec(any::<u8>(), 0..200)) {
        fuzz_requests(&data);
    }

    #[test]
    fn replies_survive_the_way_to_the_client(sent in vec(reply(), 0..5)) {
        let mut stream = Vec::new();
        for reply in &sent {
            encode(reply, Version::Resp3, &mut stream);
        }
        prop_assert_eq!(responses(&[&stream], &ResponseLimits::default()), (sent, None, 0));
    }

    #[test]
    fn the_cuts_never_change_what_a_stream_of_replies_means(
        choices: [u8; 2],
        fragments in vec(reply_fragment(), 0..8),
    ) {
        fuzz_responses(&behind_choices(choices, &fragments));
    }

    #[test]
    fn no_bytes_make_the_response_parser_panic(data in vec(any::<u8>(), 0..200)) {
        fuzz_responses(&data);
    }

    #[test]
    fn every_reply_has_a_form_that_an_older_client_can_read(sent in reply()) {
        let mut stream = Vec::new();
        encode(&sent, Version::Resp2, &mut stream);
        let (replies, error, _) = responses(&[&stream], &ResponseLimits::default());
        prop_assert_eq!((replies.len(), error), (1, None));
        prop_assert!(only_resp2(&replies[0]));
    }
}

fn only_resp2(reply: &Reply) -> bool {
    match reply {
        Reply::Ok | Reply::Simple(_) | Reply::Error(_) | Reply::Integer(_) | Reply::Bulk(_) => true,
        Reply::Null | Reply::NullArray => true,
        Reply::Array(items) => items.iter().all(only_resp2),
        _ => false,
    }
}
