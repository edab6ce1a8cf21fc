//! The protocol's hot paths: what a loop thread spends on each request and reply.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use emptyserver::resp::{
    Limits, Parsed, Reply, RequestParser, ResponseParser, Version, encode, encode::bulk, encode_command,
};

/// Requests in one read, as `redis-benchmark -P 16` sends them.
const PIPELINE: usize = 16;

fn pipelined(args: &[&[u8]]) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..PIPELINE {
        encode_command(args, &mut stream);
    }
    stream
}

/// Takes every request of `stream` and touches its arguments.
fn parse_all(parser: &mut RequestParser, limits: &Limits, stream: &[u8]) -> usize {
    let (mut position, mut argument_bytes) = (0, 0);
    while let Ok(Parsed::Complete(consumed)) = parser.parse(&stream[position..], limits) {
        argument_bytes += parser.args(&stream[position..]).iter().map(<[u8]>::len).sum::<usize>();
        position += consumed;
    }
    assert_eq!(position, stream.len());
    argument_bytes
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resp/parse");
    group.throughput(Throughput::Elements(PIPELINE as u64));
    let limits = Limits::default();
    let set = pipelined(&[b"SET", b"key:000000012345", &[b'x'; 128]]);
    let get = pipelined(&[b"GET", b"key:000000012345"]);
    let inline = b"GET key:000000012345\r\n".repeat(PIPELINE);
    for (name, stream) in [("set_128b_x16", &set), ("get_x16", &get), ("inline_get_x16", &inline)] {
        let mut parser = RequestParser::new();
        group.bench_function(name, |bencher| bencher.iter(|| parse_all(&mut parser, &limits, black_box(stream))));
    }
    group.finish();
}

/// One value of 1 MiB that arrives as sockets give it, and byte by byte.
fn parse_large(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resp/parse_large");
    let mut stream = Vec::new();
    encode_command(&[b"SET".as_slice(), b"k", &vec![b'x'; 1 << 20]], &mut stream);
    let limits = Limits::default();
    for (name, piece_bytes) in [("in_16_kib_pieces", 16 << 10), ("in_single_bytes", 1)] {
        let mut parser = RequestParser::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut arrived = 0;
                while arrived < stream.len() {
                    arrived = (arrived + piece_bytes).min(stream.len());
                    assert!(parser.parse(black_box(&stream[..arrived]), &limits).is_ok());
                }
            });
        });
    }
    group.finish();
}

fn encode_replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resp/encode");
    let value = [b'x'; 128];
    let array = Reply::Array((0..16).map(|_| Reply::Bulk(value.to_vec())).collect());
    let cases = [
        ("ok", Reply::Ok),
        ("integer", Reply::Integer(1_234_567)),
        ("bulk_128b", Reply::Bulk(value.to_vec())),
        ("array_of_16_bulks", array),
        ("double", Reply::Double(std::f64::consts::PI)),
    ];
    let mut out = Vec::with_capacity(1 << 16);
    group.bench_function("bulk_128b_without_reply", |bencher| {
        bencher.iter(|| {
            out.clear();
            bulk(black_box(&value), &mut out);
            out.len()
        });
    });
    for (name, reply) in cases {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                encode(black_box(&reply), Version::Resp3, &mut out);
                out.len()
            });
        });
    }
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resp/decode");
    group.throughput(Throughput::Elements(PIPELINE as u64));
    let mut stream = Vec::new();
    for _ in 0..PIPELINE {
        bulk(&[b'x'; 128], &mut stream);
    }
    let mut parser = ResponseParser::default();
    group.bench_function("bulk_128b_x16", |bencher| {
        bencher.iter(|| {
            let mut rest = black_box(stream.as_slice());
            while let Ok(Some(reply)) = parser.parse(&mut rest) {
                black_box(reply);
            }
        });
    });
    group.finish();
}

criterion_group!(benches, parse, parse_large, encode_replies, decode);
criterion_main!(benches);
