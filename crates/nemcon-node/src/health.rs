//! Asks a node whether it serves, as a container's health check does: an image
//! without a shell has nothing else to ask with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nemcon_net::Address;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// How long the answer may take. It is given by the thread that does all the
/// node's work, and a health check that is asked every few seconds must have
/// ended by then.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Why a node is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// The settings say port 0, so only the node knows where it listens.
    #[error(
        "listen is {listen}: a node on port 0 takes any free port, so nobody can ask it; give it \
         a port"
    )]
    NoPort {
        /// What the settings say.
        listen: SocketAddr,
    },
    /// It answers, and that it does not serve: it recovers, or drains.
    #[error("the node at {url} is starting or stopping")]
    NotServing {
        /// Where.
        url: String,
    },
    /// It does not answer, or is something else.
    #[error("no node answers at {url}: {why}")]
    Silent {
        /// Where.
        url: String,
        /// What the connection or the call said.
        why: String,
    },
    /// The question could not be asked at all.
    #[error("cannot ask")]
    System(#[source] std::io::Error),
}

/// Asks the node that listens there whether it serves.
///
/// # Errors
/// [`Unhealthy`], after two seconds at the latest.
pub fn check(listen: SocketAddr) -> Result<(), Unhealthy> {
    let url = reached_at(listen).ok_or(Unhealthy::NoPort { listen })?;
    let silent = |why: String| Unhealthy::Silent {
        url: url.clone(),
        why,
    };
    let address: Address = url.parse().map_err(|error| silent(format!("{error}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Unhealthy::System)?;
    let answer = runtime.block_on(async {
        let mut client = HealthClient::new(nemcon_net::channel(&address));
        let call = client.check(HealthCheckRequest::default());
        nemcon_net::call(ANSWER_MAX, call).await
    });
    match answer {
        Ok(response) if response.status == ServingStatus::Serving as i32 => Ok(()),
        Ok(_) => Err(Unhealthy::NotServing { url }),
        Err(status) => Err(silent(status.message().to_owned())),
    }
}

/// Where this machine reaches a node that listens there: one that listens on all
/// interfaces is asked on loopback. `None` for port 0.
fn reached_at(listen: SocketAddr) -> Option<String> {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let address = SocketAddr::new(ip, listen.port());
    (listen.port() != 0).then(|| format!("http://{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{self, Services};

    #[test]
    fn a_node_on_all_interfaces_is_asked_on_loopback() {
        for (listen, reached) in [
            ("127.0.0.1:7100", Some("http://127.0.0.1:7100")),
            ("0.0.0.0:7110", Some("http://127.0.0.1:7110")),
            ("[::]:7110", Some("http://[::1]:7110")),
            ("10.1.2.3:7110", Some("http://10.1.2.3:7110")),
            ("0.0.0.0:0", None),
        ] {
            let at = reached_at(listen.parse().unwrap());
            assert_eq!(at.as_deref(), reached, "{listen}");
        }
    }

    #[test]
    fn who_recovers_is_not_healthy_yet() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        // The node is asked from a thread of its own, as by another process.
        let ask = || tokio::task::spawn_blocking(move || check(address));
        runtime.block_on(async {
            let (routes, health) = Services::default().with_common().await.unwrap();
            tokio::spawn(server::serve(listener, routes, std::future::pending()));
            let starting = ask().await.unwrap().unwrap_err();
            assert!(
                matches!(starting, Unhealthy::NotServing { .. }),
                "{starting}"
            );
            health.set(true).await;
            ask().await.unwrap().unwrap();
        });
    }

    #[test]
    fn nobody_is_not_healthy() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let error = check(address).unwrap_err().to_string();
        assert!(error.starts_with(&format!("no node answers at http://{address}: ")));
        let error = check("0.0.0.0:0".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("give it a port"), "{error}");
    }
}
