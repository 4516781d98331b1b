//! From an address to a stream of bytes on which Valkey can be spoken: TCP, TLS or a socket.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::config::valkey::{Address, Tls};
use crate::store::OpenError;

/// The kernel gives up on unacknowledged data after this long.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes in both directions.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How streams are opened.
#[derive(Clone)]
pub(super) struct Dialer {
    /// `None` speaks in the clear.
    tls: Option<TlsConnector>,
}

impl Dialer {
    /// Reads the files that TLS rests on.
    pub(super) fn new(tls: Option<&Tls>) -> Result<Self, OpenError> {
        let tls = tls.map(connector).transpose()?;
        Ok(Self { tls })
    }

    /// Takes as long as it takes.
    pub(super) async fn server(&self, address: &Address) -> io::Result<Box<dyn Stream>> {
        let stream = tcp(address).await?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => {
                let name = ServerName::try_from(address.host.to_string())
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
                Ok(Box::new(tls.connect(name, stream).await?))
            }
        }
    }

    pub(super) async fn socket(path: &Path) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(UnixStream::connect(path).await?))
    }
}

/// The first of the name's addresses that takes the connection. All are tried at the same time: one
/// that does not answer must not use up the time of the others.
async fn tcp(address: &Address) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    for found in lookup_host((&*address.host, address.port)).await? {
        attempts.spawn(TcpStream::connect(found));
    }
    let mut last = None;
    while let Some(Ok(attempt)) = attempts.join_next().await {
        match attempt {
            Ok(stream) => {
                watchful(&stream)?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "a name without address")))
}

/// Nothing waits to be sent, and a peer that is gone is noticed.
fn watchful(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(5))
        .with_interval(Duration::from_secs(1))
        .with_retries(3);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

fn connector(tls: &Tls) -> Result<TlsConnector, OpenError> {
    let unusable = |what: String| OpenError::Tls(what);
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(roots(tls.ca_file.as_deref())?);
    let config = match &tls.certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates("cert_file", certificate)?;
            let own = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| unusable(format!("key_file: {}: {error}", key.display())))?;
            builder
                .with_client_auth_cert(chain, own)
                .map_err(|error| unusable(format!("cert_file and key_file: {error}")))?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, OpenError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            for certificate in certificates("ca_file", path)? {
                roots.add(certificate).map_err(|error| {
                    OpenError::Tls(format!("ca_file: {}: {error}", path.display()))
                })?;
            }
        }
        None => {
            // Systems carry certificates that nobody can use any more; the others count.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                let none = "this system has no certificates of authorities: give ca_file";
                return Err(OpenError::Tls(none.into()));
            }
        }
    }
    Ok(roots)
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let wrong = |what: String| OpenError::Tls(format!("{key}: {}: {what}", path.display()));
    let all: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?.collect();
    let all = all.map_err(|error| wrong(error.to_string()))?;
    if all.is_empty() {
        return Err(wrong("there is no certificate in it".into()));
    }
    Ok(all)
}
