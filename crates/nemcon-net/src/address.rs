//! Where a node is reached.

use std::fmt;
use std::str::FromStr;

use nemcon_core::limits;
use tonic::transport::Uri;

/// The address of a node: `http://HOST:PORT`.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Uri);

/// Why a text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("address {text:?}: {why}; want http://HOST:PORT, for example http://127.0.0.1:7100")]
pub struct AddressError {
    /// The text that was refused.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

impl Address {
    fn parse(text: &str) -> Result<Uri, String> {
        if text.is_empty() {
            return Err("it is empty".into());
        }
        if text.len() > limits::ADDRESS_BYTES_MAX {
            let (len, max) = (text.len(), limits::ADDRESS_BYTES_MAX);
            return Err(format!("{len} bytes are more than {max}"));
        }
        let Some((scheme, _)) = text.split_once("://") else {
            return Err("http:// in front is missing".into());
        };
        match scheme {
            "http" => {}
            "https" => {
                let why = "TLS comes with a later release; until then use http, and keep it on \
                           loopback or a network you trust";
                return Err(why.into());
            }
            other => return Err(format!("the scheme {other:?} is not known")),
        }
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            return Err("the host is missing".into());
        }
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err("a user name has no meaning here".into());
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("there is something behind the port".into());
        }
        match uri.port_u16() {
            Some(0) => Err("nobody is reached at port 0".into()),
            Some(_) => Ok(uri),
            None => Err("the port is missing".into()),
        }
    }

    /// The address as a URI.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refused = |why| AddressError {
            text: text.to_owned(),
            why,
        };
        Self::parse(text.trim()).map(Self).map_err(refused)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self
            .0
            .authority()
            .map_or("", |authority| authority.as_str());
        write!(f, "http://{authority}")
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_as_they_are_meant() {
        for (text, shown) in [
            ("http://127.0.0.1:7100", "http://127.0.0.1:7100"),
            ("http://localhost:7100/", "http://localhost:7100"),
            (" http://[::1]:7100\n", "http://[::1]:7100"),
            ("http://bank-a:80", "http://bank-a:80"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
        }
    }

    #[test]
    fn every_mistake_is_named() {
        let long = format!("http://{}:1", "x".repeat(300));
        for (text, why) in [
            ("", "it is empty"),
            ("127.0.0.1:7100", "http:// in front is missing"),
            ("localhost", "http:// in front is missing"),
            ("https://bank:7100", "TLS comes with a later release"),
            ("ftp://bank:7100", "the scheme \"ftp\" is not known"),
            ("http://bank", "the port is missing"),
            ("http://bank:0", "nobody is reached at port 0"),
            ("http://:7100", "host"),
            ("http://bank:99999", "port"),
            ("http://me@bank:7100", "a user name has no meaning here"),
            ("http://bank:7100/v1", "there is something behind the port"),
            (
                "http://bank:7100/?x=1",
                "there is something behind the port",
            ),
            ("http://a b:7100", "invalid"),
            (&long, "are more than 256"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.why.contains(why), "{text:?}: {error}");
        }
    }
}
