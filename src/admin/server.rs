//! The HTTP server: one thread, bounded in connections and in what a slow peer may take.
//!
//! A probe can't be told from a stranger before it has asked. So every connection is accepted, each carries one request, and when
//! there are too many the one that has waited longest for its peer is closed: a probe is through within milliseconds.

use std::future::poll_fn;
use std::io;
use std::net::TcpListener as StdListener;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::places::{Place, Places};
use super::routes;
use super::view::View;
use crate::server::LogLimit;
use crate::server::tls::{Certificates, TlsConfig};
use crate::sys::socket;

/// Probes, a scraper and a few people. One more takes the place of the one that has waited longest.
const CONNECTIONS_MAX: usize = 128;
/// For a TLS handshake, and for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For the peer to take some bytes of the answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// For all of it, from the connection to the last byte of the answer.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Out of descriptors, say: it passes, or it does not.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves for as long as the process lives. The result is the exit code of one that can't.
/// `certificates`: where it speaks TLS.
pub fn serve(listener: OwnedFd, view: Arc<View>, certificates: Option<Arc<Certificates>>) -> i32 {
    match run(listener, view, certificates) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!(%error, "health, metrics and the status page can't be served");
            1
        }
    }
}

fn run(listener: OwnedFd, view: Arc<View>, certificates: Option<Arc<Certificates>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = StdListener::from(listener);
        listener.set_nonblocking(true)?;
        accept_all(TcpListener::from_std(listener)?, routes::router(view), certificates).await
    })
}

async fn accept_all(listener: TcpListener, router: Router, certificates: Option<Arc<Certificates>>) -> io::Result<()> {
    static CROWDED: LogLimit = LogLimit::new();
    static FAILED: LogLimit = LogLimit::new();
    let mut places = Places::new(CONNECTIONS_MAX);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (place, evicted) = places.take(socket::canonical(peer));
                if let Some(peer) = evicted
                    && let Some(left_out) = CROWDED.admit()
                {
                    tracing::warn!(%peer, left_out, "the admin port has many connections: the one that waited longest is closed");
                }
                let tls = certificates.as_ref().map(|certificates| certificates.sidecar());
                drop(tokio::spawn(converse(stream, router.clone(), place, tls)));
                // The new one has its turn before the next is accepted, however many there are.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                if let Some(left_out) = FAILED.admit() {
                    tracing::warn!(%error, left_out, "no connection for the admin process");
                }
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// One request and its answer, for as long as the peer takes part in it.
async fn converse(stream: TcpStream, router: Router, place: Arc<Place>, tls: Option<Arc<TlsConfig>>) {
    let stream = place.watch(stream);
    let conversation = async {
        match tls {
            None => answer(stream, router).await.map_err(|error| error.to_string()),
            Some(config) => {
                let handshake = tokio::time::timeout(HEAD_TIMEOUT, TlsAcceptor::from(config).accept(stream));
                let stream = handshake.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
                answer(stream, router).await.map_err(|error| error.to_string())
            }
        }
    };
    match first(conversation, place.evicted(), place.stalled(WRITE_TIMEOUT), tokio::time::sleep(TOTAL_TIMEOUT)).await {
        End::Itself(Ok(())) | End::Evicted => {}
        End::Itself(Err(error)) => tracing::trace!(%error, "a conversation with the admin process ended early"),
        End::Stalled => tracing::debug!(peer = %place.peer(), "an answer of the admin process was not taken"),
        End::TooLong => tracing::debug!(peer = %place.peer(), "a conversation with the admin process took too long"),
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router) -> hyper::Result<()> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        // A connection that waits for another request would hold a place.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
}

/// How a conversation ended.
enum End<T> {
    Itself(T),
    Evicted,
    Stalled,
    TooLong,
}

/// Whichever comes first.
async fn first<T>(
    conversation: impl Future<Output = T>,
    evicted: impl Future<Output = ()>,
    stalled: impl Future<Output = ()>,
    too_long: impl Future<Output = ()>,
) -> End<T> {
    let (mut conversation, mut evicted) = (pin!(conversation), pin!(evicted));
    let (mut stalled, mut too_long) = (pin!(stalled), pin!(too_long));
    poll_fn(|context| {
        if let Poll::Ready(ended) = conversation.as_mut().poll(context) {
            return Poll::Ready(End::Itself(ended));
        }
        if evicted.as_mut().poll(context).is_ready() {
            return Poll::Ready(End::Evicted);
        }
        if stalled.as_mut().poll(context).is_ready() {
            return Poll::Ready(End::Stalled);
        }
        too_long.as_mut().poll(context).map(|()| End::TooLong)
    })
    .await
}
