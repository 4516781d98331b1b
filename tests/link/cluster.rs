//! Do entries spread over a cluster, and what if slots move, the ledger's among them?

use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::load::{Load, RECOVERY};
use crate::process::{Process, free_port};
use crate::single::{documented, documented_user};
use crate::support::origin::ok;
use crate::support::wait::{eventually, within};
use crate::{World, heard};

/// Three nodes without replicas.
struct Cluster {
    nodes: Vec<Process>,
}

impl Cluster {
    async fn new() -> Self {
        Self::of((0..3).map(|_| node()).collect()).await
    }

    /// Of three nodes that know nobody, and the ports of their buses.
    async fn of(nodes: Vec<(Process, u16)>) -> Self {
        let ranges = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];
        for (number, ((node, _), (first, last))) in nodes.iter().zip(ranges).enumerate() {
            let () = node.tell(&format!("CLUSTER ADDSLOTSRANGE {first} {last}")).unwrap();
            let () = node.tell(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1)).unwrap();
        }
        for (node, bus) in &nodes[1..] {
            let met = format!("CLUSTER MEET 127.0.0.1 {} {bus}", node.port());
            let () = nodes[0].0.tell(&met).unwrap();
        }
        let cluster = Self { nodes: nodes.into_iter().map(|(node, _)| node).collect() };
        cluster.until_well().await;
        cluster
    }

    async fn until_well(&self) {
        within(RECOVERY, "the cluster is well", async || {
            self.nodes.iter().all(|node| {
                node.tell::<String>("CLUSTER INFO").is_ok_and(|info| {
                    info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
                })
            })
        })
        .await;
    }

    /// One seed is enough: the others are found.
    fn store(&self) -> String {
        format!("valkey = \"valkey-cluster://{}\"", address(self.nodes[0].port()))
    }

    /// The slot of the ledger, its owner, and another node.
    fn ledger(&self) -> (u16, &Process, &Process) {
        let slot: u16 = self.nodes[0].tell("CLUSTER KEYSLOT larder:{l}:ledger").unwrap();
        let owns = |node: &&Process| {
            node.tell::<i64>("EXISTS larder:{l}:ledger").is_ok_and(|count| count == 1)
        };
        let owner = self.nodes.iter().find(owns).expect("an owner of the ledger");
        let other = self.nodes.iter().find(|node| node.port() != owner.port()).unwrap();
        (slot, owner, other)
    }
}

/// A node that knows nobody, and the port of its bus.
fn node() -> (Process, u16) {
    let bus_port = free_port();
    let (port, bus) = (free_port().to_string(), bus_port.to_string());
    let timeout = ["--cluster-node-timeout", "2000"];
    let mut arguments = vec!["--port", &port, "--cluster-enabled", "yes", "--cluster-port", &bus];
    arguments.extend(timeout);
    (Process::on(port.parse().unwrap(), &arguments), bus_port)
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn cli(before: &[&str], addresses: &[String], after: &[&str]) -> bool {
    let mut command = Command::new("valkey-cli");
    command.args(before).args(addresses).args(after).stdout(Stdio::null());
    command.status().expect("valkey-cli is needed for these tests").success()
}

fn id(node: &Process) -> String {
    node.tell("CLUSTER MYID").unwrap()
}

/// Moves a slot as every tool does it, and takes its time at each step.
async fn move_slot(slot: u16, from: &Process, to: &Process, pause: Duration) {
    let () = to.tell(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", id(from))).unwrap();
    let () = from.tell(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", id(to))).unwrap();
    sleep(pause).await;
    loop {
        let keys: Vec<String> = from.tell(&format!("CLUSTER GETKEYSINSLOT {slot} 1")).unwrap();
        let [key] = keys.as_slice() else { break };
        let moved = from.tell::<String>(&format!("MIGRATE 127.0.0.1 {} {key} 0 5000", to.port()));
        assert!(moved.is_ok(), "{key}: {moved:?}");
        sleep(pause).await;
    }
    for node in [to, from] {
        let () = node.tell(&format!("CLUSTER SETSLOT {slot} NODE {}", id(to))).unwrap();
        sleep(pause).await;
    }
}

async fn all_hear(world: &World) {
    for larder in &world.larders {
        within(RECOVERY, "the ledger is heard", async || heard(larder).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_spread_and_are_found_wherever_they_are() {
    let cluster = Cluster::new().await;
    let world = World::over(&cluster.store(), 2).await;
    world.works().await;
    world.origin.on("/spread").answers(|asked| ok(asked.target.clone()));
    let targets: Vec<_> = (0..60).map(|n| format!("/spread?{n}")).collect();
    let large = vec![b'x'; 100_000];
    world.origin.on("/large").replies(ok(large.clone()));
    for target in targets.iter().map(String::as_str).chain(["/large?1", "/large?2", "/large?3"]) {
        let client = world.larders[0].client();
        eventually("it is kept", async || client.get(target).await.is_hit()).await;
    }
    for node in &cluster.nodes {
        let held: usize = node.tell("DBSIZE").unwrap();
        assert!(held >= 8, "one node holds only {held}");
    }
    let fetched = world.origin.saw("/spread");
    let reader = world.larders[1].client();
    for target in &targets {
        let reply = reader.get(target).await;
        assert!(reply.is_hit() && reply.text() == *target, "{target}: {}", reply.text());
    }
    assert_eq!(world.origin.saw("/spread"), fetched, "all of them were found");
    for target in ["/large?1", "/large?2", "/large?3"] {
        assert!(reader.get(target).await.is_hit(), "{target}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_moves_to_another_node_under_load_and_nobody_is_restarted() {
    let cluster = Cluster::new().await;
    let world = World::over(&cluster.store(), 2).await;
    world.works().await;
    for pause in [Duration::ZERO, Duration::from_millis(300)] {
        let (slot, from, to) = cluster.ledger();
        let load = Load::on(&world);
        load.records(20).await;
        let started = Instant::now();
        move_slot(slot, from, to, pause).await;
        let moved = started.elapsed();
        all_hear(&world).await;
        let back = started.elapsed();
        load.records(20).await;
        let cost = load.must_be_fine().await;
        println!("moved after {moved:?}, all heard after {back:?}, {cost:?}");
        world.works().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_are_resharded_by_the_thousand_under_load() {
    let cluster = Cluster::new().await;
    let world = World::over(&cluster.store(), 2).await;
    let (_, from, to) = cluster.ledger();
    let load = Load::on(&world);
    load.records(20).await;
    let (from_id, to_id) = (id(from), id(to));
    let seed = [address(from.port())];
    let resharded = tokio::task::block_in_place(|| {
        let how = ["--cluster-from", &from_id, "--cluster-to", &to_id];
        let how = [&how[..], &["--cluster-slots", "1500", "--cluster-yes"]].concat();
        cli(&["--cluster", "reshard"], &seed, &how)
    });
    assert!(resharded, "the slots were not moved");
    all_hear(&world).await;
    load.records(20).await;
    println!("{:?}", load.must_be_fine().await);
    world.works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_and_comes_back_is_found_again() {
    let mut cluster = Cluster::new().await;
    let world = World::over(&cluster.store(), 2).await;
    let load = Load::on(&world);
    load.records(20).await;
    let at = {
        let (_, owner, _) = cluster.ledger();
        cluster.nodes.iter().position(|node| node.port() == owner.port()).unwrap()
    };
    cluster.nodes[at].kill();
    load.writes(20).await;
    cluster.nodes[at].start();
    cluster.until_well().await;
    all_hear(&world).await;
    load.records(20).await;
    println!("{:?}", load.must_be_fine().await);
    world.works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_over_from_the_node_that_keeps_the_ledger() {
    let mut cluster = Cluster::new().await;
    let (slot, at) = {
        let slot: u16 = cluster.nodes[0].tell("CLUSTER KEYSLOT larder:{l}:ledger").unwrap();
        (slot, usize::from(slot) / 5_461)
    };
    let (replica, bus) = node();
    let met = format!("CLUSTER MEET 127.0.0.1 {} {bus}", replica.port());
    let () = cluster.nodes[0].tell(&met).unwrap();
    let follow = format!("CLUSTER REPLICATE {}", id(&cluster.nodes[at]));
    eventually("they know each other", async || replica.tell::<()>(&follow).is_ok()).await;
    within(RECOVERY, "the replica follows", async || {
        let info: String = replica.tell("INFO replication").unwrap_or_default();
        info.contains("role:slave") && info.contains("master_link_status:up")
    })
    .await;
    let seed = cluster.nodes.iter().enumerate().find(|(number, _)| *number != at).unwrap().1;
    let store = format!("valkey = \"valkey-cluster://{}\"", address(seed.port()));
    let world = World::over(&store, 2).await;
    world.works().await;
    let load = Load::on(&world);
    load.records(20).await;
    let killed = Instant::now();
    cluster.nodes[at].kill();
    within(RECOVERY, "the replica takes over", async || {
        let owns: Result<i64, _> = replica.tell("EXISTS larder:{l}:ledger");
        owns.is_ok_and(|count| count == 1)
    })
    .await;
    let promoted = killed.elapsed();
    load.records(20).await;
    all_hear(&world).await;
    println!("slot {slot}: taken over after {promoted:?}, {:?}", load.must_be_fine().await);
    world.works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_user_needs_little_more_in_a_cluster() {
    let cluster = Cluster::new().await;
    for node in &cluster.nodes {
        let mut user = documented_user();
        user.push(documented("+cluster|nodes"));
        let () = redis::cmd("ACL").arg(user).query(&mut node.client()).unwrap();
    }
    let login = "username = \"larder\"\npassword = \"secret\"";
    let world = World::over(&format!("{}\n{login}", cluster.store()), 2).await;
    world.works().await;
    for larder in &world.larders {
        assert!(!larder.told().contains("NOPERM"), "{}", larder.told());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_routes_show_nothing_old_while_the_ledger_moves() {
    let cluster = Cluster::new().await;
    let world = World::strict(&cluster.store(), 2).await;
    for pause in [Duration::ZERO, Duration::from_millis(200)] {
        let (slot, from, to) = cluster.ledger();
        let load = Load::strict(&world);
        load.records(20).await;
        move_slot(slot, from, to, pause).await;
        load.records(20).await;
        all_hear(&world).await;
        println!("{:?}", load.must_be_fine().await);
    }
}
