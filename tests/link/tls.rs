//! Valkey behind TLS: what is believed, what is shown, and that nothing is ever said in the clear.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use tempfile::TempDir;

use crate::process::{Process, free_port};
use crate::support::larder::{Larder, Setup};
use crate::support::origin::Origin;
use crate::support::wait::{eventually, stays};
use crate::{World, heard};

/// An authority, and files of certificates that it gave out.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = named("authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A certificate for this host, in `<name>.pem` and `<name>-key.pem`.
    fn certify(&self, name: &str, host: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = named(host);
        let address = host.parse().map(SanType::IpAddress);
        params.subject_alt_names =
            vec![address.unwrap_or_else(|_| SanType::DnsName(host.try_into().unwrap()))];
        let certificate: Certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.file(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.file(&format!("{name}-key.pem")), key.serialize_pem()).unwrap();
    }

    /// A server whose certificate is for `host`, and that speaks nothing but TLS.
    fn server(&self, host: &str, auth_clients: &str) -> Process {
        self.certify("server", host);
        let port = free_port();
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        Process::on(
            port,
            &[
                "--port",
                "0",
                "--tls-port",
                &port.to_string(),
                "--tls-cert-file",
                &text(self.file("server.pem")),
                "--tls-key-file",
                &text(self.file("server-key.pem")),
                "--tls-ca-cert-file",
                &text(self.file("ca.pem")),
                "--tls-auth-clients",
                auth_clients,
            ],
        )
    }

    fn ca(&self) -> String {
        key("ca_file", &self.file("ca.pem"))
    }
}

/// No two names are the same: who has signed what is told by them.
fn named(name: &str) -> CertificateParams {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Relaxed);
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("{name} {number}"));
    params
}

fn key(name: &str, path: &Path) -> String {
    format!("{name} = \"{}\"\n", path.display())
}

fn url(scheme: &str, host: &str, server: &Process) -> String {
    format!("valkey = \"{scheme}://{host}:{}\"\n", server.port())
}

#[tokio::test]
async fn everything_works_through_tls_with_a_certificate_of_our_own() {
    let authority = Authority::new();
    let server = authority.server("127.0.0.1", "yes");
    authority.certify("larder", "larder");
    let certificate = key("cert_file", &authority.file("larder.pem"));
    let own_key = key("key_file", &authority.file("larder-key.pem"));
    let store = url("valkeys", "127.0.0.1", &server) + &authority.ca() + &certificate + &own_key;
    World::over(&store, 2).await.works().await;
}

#[tokio::test]
async fn a_name_in_the_certificate_is_as_good_as_an_address() {
    let authority = Authority::new();
    let server = authority.server("localhost", "no");
    let store = url("rediss", "localhost", &server) + &authority.ca();
    World::over(&store, 1).await.works().await;
}

#[tokio::test]
async fn who_cannot_be_believed_is_not_spoken_to() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = authority.server("127.0.0.1", "no");
    let elsewhere = authority.server("elsewhere.example", "no");
    let asks = authority.server("127.0.0.1", "yes");
    let plain = Process::server(&[]);
    for (store, why) in [
        // An authority that it does not come from.
        (url("valkeys", "127.0.0.1", &server) + &other.ca(), "UnknownIssuer"),
        // One that the system does not know.
        (url("valkeys", "127.0.0.1", &server), "UnknownIssuer"),
        // A certificate for somebody else.
        (url("valkeys", "127.0.0.1", &elsewhere) + &authority.ca(), "not valid for name"),
        // We show none, and it insists.
        (url("valkeys", "127.0.0.1", &asks) + &authority.ca(), "ertificate"),
        // It does not speak TLS: there is no way back to speaking in the clear.
        (url("valkeys", "127.0.0.1", &plain) + &authority.ca(), "cannot connect"),
        // It speaks nothing else.
        (url("valkey", "127.0.0.1", &server), "cannot connect"),
    ] {
        let larder = lonely(&store).await;
        eventually("it says why", async || {
            let told = larder.told();
            told.contains("cannot connect to Valkey") && told.contains(why)
        })
        .await;
        stays(Duration::from_millis(200), "not connected", async || !heard(&larder).await).await;
    }
    let seen: String = plain.tell("INFO clients").unwrap();
    let commands: String = plain.tell("INFO commandstats").unwrap();
    assert!(!commands.contains("cmdstat_ping"), "{seen}{commands}");
}

#[tokio::test]
async fn files_that_cannot_be_used_end_the_start() {
    let authority = Authority::new();
    authority.certify("one", "one");
    authority.certify("two", "two");
    let certificate = |name: &str| key("cert_file", &authority.file(&format!("{name}.pem")));
    let own_key = |name: &str| key("key_file", &authority.file(&format!("{name}-key.pem")));
    for (files, why) in [
        (key("ca_file", Path::new("/nowhere/ca.pem")), "store.ca_file: /nowhere/ca.pem: "),
        (key("ca_file", &authority.file("one-key.pem")), "there is no certificate in it"),
        (certificate("one") + &own_key("absent"), "store.key_file: "),
        (certificate("one") + &key("key_file", &authority.file("one.pem")), "store.key_file: "),
        (certificate("one") + &own_key("two"), "store.cert_file and key_file: "),
    ] {
        let ca = if files.contains("ca_file") { String::new() } else { authority.ca() };
        let text = format!(
            "listen = \"127.0.0.1:0\"\n[origin]\nurl = \"http://127.0.0.1:1\"\n[store]\n\
             valkey = \"valkeys://u:hunter2@127.0.0.1:1\"\n{ca}{files}"
        );
        let file = authority.file("proxy.toml");
        std::fs::write(&file, text).unwrap();
        let run = Larder::command().arg("run").arg("--config").arg(&file).output().unwrap();
        let told = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(1), "{told}");
        assert!(told.contains(why) && !told.contains("hunter2"), "{why}: {told}");
    }
}

/// A process whose Valkey is not to be reached.
async fn lonely(store: &str) -> Larder {
    let origin = Origin::start();
    Setup::before(&origin.url()).store(store).route("/{*rest}", "").start().await
}
