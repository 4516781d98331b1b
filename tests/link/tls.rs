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
        let mut all = self.arguments(port);
        all.extend(["--port", "0", "--tls-auth-clients", auth_clients].map(str::to_owned));
        Process::on(port, &all.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What a server or a Sentinel needs to speak TLS on this port, as arguments.
    fn arguments(&self, port: u16) -> Vec<String> {
        let pairs = [
            ("tls-port", port.to_string()),
            ("tls-cert-file", self.text("server.pem")),
            ("tls-key-file", self.text("server-key.pem")),
            ("tls-ca-cert-file", self.text("ca.pem")),
        ];
        pairs.into_iter().flat_map(|(name, value)| [format!("--{name}"), value]).collect()
    }

    fn text(&self, file: &str) -> String {
        self.file(file).to_string_lossy().into_owned()
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

#[tokio::test]
async fn a_cluster_says_where_its_nodes_speak_tls() {
    let authority = Authority::new();
    authority.certify("server", "127.0.0.1");
    let [(one, _), (two, bus)] = [(); 2].map(|()| {
        // The test itself speaks to them in the clear.
        let (plain, bus) = (free_port().to_string(), free_port());
        let tls = free_port();
        let mut all = authority.arguments(tls);
        let more = ["--port", &plain, "--tls-auth-clients", "no", "--cluster-enabled", "yes"];
        all.extend(more.map(str::to_owned));
        all.extend(["--cluster-port".to_owned(), bus.to_string()]);
        let arguments: Vec<_> = all.iter().map(String::as_str).collect();
        ((Process::on(plain.parse().unwrap(), &arguments), tls), bus)
    });
    let () = one.0.tell("CLUSTER ADDSLOTSRANGE 0 8191").unwrap();
    let () = two.0.tell("CLUSTER ADDSLOTSRANGE 8192 16383").unwrap();
    let () = two.0.tell("CLUSTER SET-CONFIG-EPOCH 2").unwrap();
    let () = one.0.tell(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", two.0.port())).unwrap();
    eventually("the cluster is well", async || {
        [&one.0, &two.0].iter().all(|node| {
            node.tell::<String>("CLUSTER INFO").is_ok_and(|info| info.contains("state:ok"))
        })
    })
    .await;
    let url = format!("valkey = \"valkeys-cluster://127.0.0.1:{}\"\n", one.1);
    let world = World::over(&(url + &authority.ca()), 2).await;
    world.works().await;
    for node in [&one.0, &two.0] {
        let clients: String = node.tell("CLIENT LIST").unwrap();
        assert!(clients.contains("name=larder-entries"), "{clients}");
    }
}

#[tokio::test]
async fn sentinels_are_asked_through_tls_as_well() {
    let authority = Authority::new();
    let server = authority.server("127.0.0.1", "no");
    let port = free_port();
    let mut lines = String::from("port 0\ntls-replication yes\ntls-auth-clients no\n");
    for pair in authority.arguments(port).chunks(2) {
        lines.push_str(&format!("{} {}\n", pair[0].trim_start_matches('-'), pair[1]));
    }
    let _sentinel = Process::sentinel_on(port, &lines, "mymaster", server.port(), 1);
    let url = format!("valkey = \"valkeys-sentinel://127.0.0.1:{port}/mymaster\"\n");
    World::over(&(url + &authority.ca()), 2).await.works().await;
}
