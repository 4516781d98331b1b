//! `larder demo`: a toy product API, the configuration of the proxy in front of it, and a tour to
//! take with curl.

use std::net::SocketAddr;

mod catalogue;
mod origin;

pub use origin::origin;

/// A complete `proxy.toml` for the demo, at the addresses that it uses by default.
pub const CONFIG: &str = include_str!("proxy.toml");

/// [`CONFIG`] with other addresses.
pub fn config(listen: SocketAddr, admin: SocketAddr, origin: SocketAddr) -> String {
    CONFIG
        .replace("127.0.0.1:8080", &listen.to_string())
        .replace("127.0.0.1:9090", &admin.to_string())
        .replace("127.0.0.1:3000", &origin.to_string())
}

/// What is printed at the start: commands to copy, in order, and what to look at.
pub fn tour(listen: SocketAddr, admin: SocketAddr) -> String {
    TOUR.replace("PROXY", &format!("http://{listen}")).replace("ADMIN", &format!("http://{admin}"))
}

const TOUR: &str = r#"
A slow product API is running, and Larder in front of it. In another terminal:

 1  A miss: the origin takes its time, and Cache-Status says fwd=…
      curl -s -D - -o /dev/null -w 'took %{time_total}s\n' PROXY/products/7

 2  The same again is a hit: no waiting, a ttl that counts down
      curl -s -D - -o /dev/null -w 'took %{time_total}s\n' PROXY/products/7

 3  Past ten seconds it is stale: still no waiting, and refreshed behind your back
      sleep 11; curl -s -D - -o /dev/null -w 'took %{time_total}s\n' PROXY/products/7

 4  Fill the list and a search, so that there is something to invalidate
      curl -s -o /dev/null PROXY/products; curl -s -o /dev/null 'PROXY/search?q=tea'

 5  A write through the proxy; Larder-Position is its place in the ledger
      curl -si -X PATCH PROXY/products/7 -H 'Content-Type: application/json' -d '{"price": 99.5}'

 6  What it replaced is gone at once: the item, the list it is on, the search that found it
      curl -s PROXY/products/7; echo; curl -s PROXY/products | grep -o '"price":99.5'

 7  Twenty clients miss together, the origin is asked once
      for i in $(seq 20); do curl -s -o /dev/null PROXY/slow & done; wait; curl -s PROXY/_origin/stats

 8  What is private stays private: asked twice, never stored
      curl -s -D - -o /dev/null PROXY/account/me; curl -s -D - -o /dev/null PROXY/account/me

 9  A purge by tag, and its receipt; then the next one is a miss
      curl -s PROXY/products/7 -o /dev/null; curl -s ADMIN/purge -H 'Content-Type: application/json' -d '{"tag": "product:7"}'
      curl -s -D - -o /dev/null PROXY/products/7

10  Why a request would be answered as it would
      curl -s 'ADMIN/explain?method=GET&url=/products/7'

11  What it was good for: requests by outcome, and the time the origin did not have to work
      curl -s ADMIN/metrics | grep -E '^larder_(requests|origin_time_saved_seconds)_total' | grep -v ' 0'

The same from the command line: larder purge --tag product:7 | larder explain GET /products/7 | larder stats
Ctrl-C ends it.
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_the_configuration_can_be_changed() {
        let [listen, admin, origin] =
            [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let text = config(listen, admin, origin);
        for line in [
            "listen = \"127.0.0.1:1\"",
            "url = \"http://127.0.0.1:3\"",
            "[admin]\nlisten = \"127.0.0.1:2\"",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(!text.contains("8080") && !text.contains("3000") && !text.contains("9090"));
    }

    #[test]
    fn the_configuration_is_toml() {
        let table: toml::Table = CONFIG.parse().unwrap();
        assert_eq!(table["route"].as_array().unwrap().len(), 5);
    }

    #[test]
    fn the_tour_names_the_addresses_that_are_in_use() {
        let text = tour("127.0.0.1:81".parse().unwrap(), "127.0.0.1:82".parse().unwrap());
        assert!(text.contains("http://127.0.0.1:81/products/7"), "{text}");
        assert!(text.contains("http://127.0.0.1:82/purge"), "{text}");
        assert!(!text.contains("PROXY") && !text.contains("ADMIN"), "{text}");
    }
}
