//! An origin without manners: what it sends is what the test wrote, octet for octet.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Answers each path with the bytes that it was given for it, once per connection.
pub(crate) struct Rude {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Script {
    answers: HashMap<String, Arc<[u8]>>,
    asked: HashMap<String, usize>,
}

impl Rude {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::<Mutex<Script>>::default();
        let shared = Arc::clone(&script);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&shared)));
            }
        });
        Self { address, script, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends these bytes to whoever asks for this path, and closes.
    pub(crate) fn on(&self, path: &str, bytes: &[u8]) {
        self.script.lock().unwrap().answers.insert(path.to_owned(), bytes.into());
    }

    /// How often this path was asked for.
    pub(crate) fn saw(&self, path: &str) -> usize {
        self.script.lock().unwrap().asked.get(path).copied().unwrap_or_default()
    }
}

impl Drop for Rude {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(mut stream: TcpStream, script: Arc<Mutex<Script>>) {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => head.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
    let line = String::from_utf8_lossy(&head).into_owned();
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let bytes = {
        let mut script = script.lock().unwrap();
        *script.asked.entry(path.clone()).or_default() += 1;
        script.answers.get(&path).cloned()
    };
    let none: Arc<[u8]> = (*b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").into();
    let _ = stream.write_all(&bytes.unwrap_or(none)).await;
    let _ = stream.shutdown().await;
    // What was not read would make the kernel take back what was sent.
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}
