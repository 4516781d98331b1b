//! One server: behind a socket, in a database with a number, as a user who may do little.

use std::time::Duration;

use crate::World;
use crate::process::Process;
use crate::support::wait::{eventually, stays};

#[tokio::test]
async fn everything_works_through_a_socket() {
    let server = Process::server(&["--unixsocket", "s.sock", "--unixsocketperm", "700"]);
    let path = server.directory().join("s.sock");
    let store = format!("valkey = \"unix://{}?db=3\"", path.display());
    World::over(&store, 2).await.works().await;
    let clients: String = server.tell("CLIENT LIST").unwrap();
    let ours: Vec<_> = clients.lines().filter(|line| line.contains("name=larder-")).collect();
    assert!(ours.iter().all(|line| line.contains("s.sock")), "{clients}");
    assert_eq!(used_databases(&server), ["db3"]);
}

#[tokio::test]
async fn everything_is_kept_in_the_database_that_was_given() {
    let server = Process::server(&[]);
    let address = format!("127.0.0.1:{}", server.port());
    for (number, store) in [
        ("db5", format!("valkey = \"valkey://{address}/5\"")),
        ("db6", format!("valkey = \"redis://{address}\"\ndatabase = 6")),
    ] {
        World::over(&store, 2).await.works().await;
        assert!(used_databases(&server).contains(&number.to_owned()), "{number}");
    }
    assert_eq!(used_databases(&server), ["db5", "db6"], "and in no other");
}

/// The databases that hold anything.
fn used_databases(server: &Process) -> Vec<String> {
    let info: String = server.tell("INFO keyspace").unwrap();
    let lines = info.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(name, _)| name.starts_with("db")).map(|(name, _)| name.to_owned()).collect()
}

/// What else a user may need, if the documentation says so.
pub(crate) fn documented(word: &str) -> String {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
    assert!(std::fs::read_to_string(docs).unwrap().contains(&format!("`{word}`")), "{word}");
    word.to_owned()
}

/// As `docs/operations.md` has it, with `larder` for the prefix and `secret` for the password.
pub(crate) fn documented_user() -> Vec<String> {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let (_, section) = docs.split_once("### A user of its own in Valkey").expect("the section");
    let (_, block) = section.split_once("```\n").expect("a block with the user");
    let (block, _) = block.split_once("```").expect("its end");
    let words = block.replace('\\', " ").replace("<password>", "secret");
    words.split_whitespace().skip_while(|word| *word != "SETUSER").map(str::to_owned).collect()
}

#[tokio::test]
async fn the_documented_user_is_enough_and_may_do_nothing_else() {
    let server = Process::server(&[]);
    let () = redis::cmd("ACL").arg(documented_user()).query(&mut server.client()).unwrap();
    let address = format!("127.0.0.1:{}", server.port());
    let store =
        format!("valkey = \"valkey://{address}\"\nusername = \"larder\"\npassword = \"secret\"");
    let world = World::over(&store, 2).await;
    world.works().await;
    for larder in &world.larders {
        assert!(!larder.told().contains("NOPERM"), "{}", larder.told());
        assert!(!larder.told().contains("ACL failure"), "{}", larder.told());
    }
    let mut larder = redis::Client::open(format!("redis://larder:secret@{address}"))
        .and_then(|client| client.get_connection())
        .unwrap();
    for command in [
        "FLUSHALL",
        "FLUSHDB",
        "CONFIG GET maxmemory",
        "CONFIG SET maxmemory 1",
        "KEYS *",
        "SCAN 0",
        "SHUTDOWN",
        "ACL LIST",
        "CLIENT LIST",
        "CLIENT KILL TYPE normal",
        "REPLICAOF NO ONE",
        "FUNCTION LIST",
        "MONITOR",
        "SAVE",
        "SET elsewhere 1",
        "GET elsewhere",
        "SET larder2:x 1",
        "XADD other:{l}:ledger * a b",
        "EVAL return(1) 1 elsewhere",
        "PUBLISH channel message",
    ] {
        let mut words = command.split_whitespace();
        let mut cmd = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            cmd.arg(word);
        });
        let refused = cmd.query::<redis::Value>(&mut larder).expect_err(command);
        assert_eq!(refused.code(), Some("NOPERM"), "{command}: {refused}");
    }
}

#[tokio::test]
async fn what_a_user_may_not_do_is_told() {
    let server = Process::server(&[]);
    let mut user = documented_user();
    user.push("-xread".into());
    let () = redis::cmd("ACL").arg(user).query(&mut server.client()).unwrap();
    let address = format!("127.0.0.1:{}", server.port());
    let world = World::unheard(&format!("valkey = \"valkey://larder:secret@{address}\"")).await;
    let larder = &world.larders[0];
    eventually("it says what it may not do", async || {
        let told = larder.told();
        told.contains("xread") && told.contains("no permissions")
    })
    .await;
    let unheard = async || !crate::heard(larder).await;
    stays(Duration::from_millis(200), "it does not call itself ready", unheard).await;
    assert!(!larder.told().contains("secret"), "{}", larder.told());
}
