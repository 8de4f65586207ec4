//! The listener and the life of its connections.

use std::future::Future;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;

use super::App;
use super::http::{self, Observe};
use crate::config;

/// The address can't be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "{address} is taken by another program; stop it, or choose another port with --listen or PORTEIRO__SERVER__LISTEN"
    )]
    Taken { address: String },
    #[error("can't listen on {address} (setting server.listen)")]
    Other { address: String, source: std::io::Error },
}

/// Takes the port, so that what prevents it is known before models are loaded.
///
/// # Errors
/// The port is taken, or is none that this process may have.
pub fn bind(listen: &str) -> Result<TcpListener, BindError> {
    TcpListener::bind(listen).map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => BindError::Taken { address: listen.to_owned() },
        _ => BindError::Other { address: listen.to_owned(), source },
    })
}

/// Serves until `stop` is ready; then takes no new connection, answers what was accepted and returns, at the latest after
/// `stop_timeout`.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    app: App,
    settings: &config::Server,
    stop: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let handle = Handle::<SocketAddr>::new();
    let mut server = axum_server::from_tcp(listener)?
        .acceptor(NoDelayAcceptor::new())
        .handle(handle.clone())
        .first_request_timeout(settings.header_timeout);
    server.http_builder().http1().header_read_timeout(settings.header_timeout);
    let serving = server.serve(tower::make::Shared::new(Observe::new(http::router(app))));
    tokio::pin!(serving);
    tokio::select! {
        result = &mut serving => return result,
        () = stop => {}
        () = keep_a_timer_near() => {}
    }
    handle.graceful_shutdown(Some(settings.stop_timeout));
    // The handle ends connections at the timeout; this is for one that does not end even so.
    tokio::time::timeout(settings.stop_timeout + Duration::from_secs(1), serving).await.unwrap_or(Ok(()))
}

/// Never ends. Each request sets timers, seconds ahead. One that is the nearest of all interrupts the thread that waits for the
/// network, at two to three system calls a request where there is little else to do; one behind a nearer one does not.
async fn keep_a_timer_near() {
    const NEAR: Duration = Duration::from_millis(500);
    let mut ticks = tokio::time::interval(NEAR);
    loop {
        ticks.tick().await;
    }
}
