//! The HTTP port: metrics for a scraper, probes for whoever keeps nodes running.
//!
//! Nothing here changes anything, and nothing reads a body. A connection carries one
//! request: so those who are slow, or never end, cost a bounded number of small
//! things and make nobody wait for long.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::TEXT_FORMAT;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{Figures, LogPlace, Metrics, Scrape};
use crate::node::Chain;
use crate::server::Ready;

/// Connections at a time. A few scrapers and probes need a few; others wait.
const CONNECTIONS_MAX: usize = 32;

/// How long a connection may take, from its first byte to its last. So long whoever
/// opens many and says nothing can keep others waiting.
const CONNECTION_MAX: Duration = Duration::from_secs(5);

/// How long the driver may take to say where it stands. It looks at every turn; a
/// node that does not get round to it in that time has other troubles.
const FIGURES_MAX: Duration = Duration::from_secs(2);

/// After an `accept` that failed (no file descriptor is left, say) it is pointless to
/// try again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";

/// What the port answers from. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Scraper {
    metrics: Arc<Metrics>,
    ready: Ready,
    scrapes: mpsc::Sender<Scrape>,
}

/// Serves until the node's runtime ends.
pub(crate) async fn serve(listener: TcpListener, scraper: Scraper) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot use the HTTP port"),
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let scraper = scraper.clone();
                tokio::spawn(async move {
                    // Who is too slow, or speaks something else, is dropped.
                    let _ = tokio::time::timeout(CONNECTION_MAX, converse(stream, scraper)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for HTTP");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One request and its answer.
async fn converse(stream: TcpStream, scraper: Scraper) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let scraper = scraper.clone();
        async move {
            let answer = scraper.answer(request.method(), request.uri().path()).await;
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = connection.await {
        let error = Chain(&error);
        tracing::debug!(%error, "a conversation by HTTP ended early");
    }
}

impl Scraper {
    pub(crate) const fn new(
        metrics: Arc<Metrics>,
        ready: Ready,
        scrapes: mpsc::Sender<Scrape>,
    ) -> Self {
        Self {
            metrics,
            ready,
            scrapes,
        }
    }

    async fn answer(&self, method: &Method, path: &str) -> Response<String> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refused = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD: nothing here changes anything\n",
            );
            let allowed = HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(ALLOW, allowed);
            return refused;
        }
        match path {
            "/metrics" => self.metrics().await,
            // The thread that says this is the one that does all the work.
            "/healthz" => text(StatusCode::OK, "alive\n"),
            "/readyz" if self.ready.is_set() => text(StatusCode::OK, "serving\n"),
            "/readyz" => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "not serving: starting or stopping\n",
            ),
            _ => text(
                StatusCode::NOT_FOUND,
                "there is /metrics, /healthz and /readyz\n",
            ),
        }
    }

    async fn metrics(&self) -> Response<String> {
        let ready = self.ready.is_set();
        let figures = if ready { self.figures().await } else { None };
        match self.metrics.text(ready, figures.as_ref()) {
            Ok(metrics) => {
                let mut response = text(StatusCode::OK, &metrics);
                let format = HeaderValue::from_static(TEXT_FORMAT);
                response.headers_mut().insert(CONTENT_TYPE, format);
                response
            }
            Err(error) => {
                tracing::error!(%error, "a bug: the metrics cannot be written");
                text(StatusCode::INTERNAL_SERVER_ERROR, "a bug; see the log\n")
            }
        }
    }

    /// Where the machine stands; `None` if the driver does not come round to say it.
    async fn figures(&self) -> Option<(LogPlace, Figures)> {
        let (scrape, figures) = oneshot::channel();
        let asked = async {
            self.scrapes.send(scrape).await.ok()?;
            figures.await.ok()
        };
        tokio::time::timeout(FIGURES_MAX, asked).await.ok()?
    }
}

fn text(status: StatusCode, body: &str) -> Response<String> {
    let mut response = Response::new(body.to_owned());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maintenance::NodeKind;
    use crate::settings::Settings;

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn who_starts_or_stops_is_alive_and_not_ready() {
        let settings = Settings::new("127.0.0.1:0".parse().unwrap(), std::env::temp_dir());
        let metrics = Metrics::new(NodeKind::Participant, "a", &settings).unwrap();
        let ready = Ready::default();
        let (scrapes, _driver_is_busy) = mpsc::channel(1);
        let scraper = Scraper::new(Arc::new(metrics), ready.clone(), scrapes);
        let get = async |path| scraper.answer(&Method::GET, path).await;
        assert_eq!(get("/healthz").await.status(), StatusCode::OK);
        let not_yet = get("/readyz").await;
        assert_eq!(not_yet.status(), StatusCode::SERVICE_UNAVAILABLE);
        let text = get("/metrics").await.into_body();
        assert!(text.contains("nemcon_ready 0"), "{text}");
        assert!(!text.contains("nemcon_in_doubt"), "{text}");

        ready.set(true);
        assert_eq!(get("/readyz").await.status(), StatusCode::OK);
        // The driver does not get round to it: what is known without it is shown.
        for _ in 0..3 {
            let text = get("/metrics").await.into_body();
            assert!(text.contains("nemcon_ready 1"), "{text}");
            assert!(!text.contains("nemcon_in_doubt"), "{text}");
        }
    }
}
