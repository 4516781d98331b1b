use super::*;
use crate::config::{Config, Overrides};

fn config(routes: &str) -> Config {
    let text = format!("{routes}\n[origin]\nurl = \"http://a\"\n");
    match Config::load(Some(("proxy.toml", &text)), &Overrides::default(), &|_| None) {
        Ok((config, _)) => config,
        Err(errors) => panic!("{errors}"),
    }
}

fn name(routes: &Routes, method: &str, host: &str, path: &str) -> String {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    routes.find(host, &method, path).route.name.to_string()
}

#[test]
fn the_most_specific_route_that_takes_the_method_wins() {
    let routes = Routes::new(&config(
        r#"
        route = [
            { name = "all", path = "/{*rest}" },
            { name = "item", path = "/products/{id}", methods = ["GET"] },
            { name = "item-write", path = "/products/{key}", methods = ["PUT", "DELETE"] },
            { name = "new", path = "/products/new" },
            { name = "new-post", path = "/products/new", methods = ["POST"] },
            { name = "png", path = "/img/{name}.png" },
            { name = "api", path = "/products/{id}", host = "api.example.com" },
            { name = "sub", path = "/{*rest}", host = "*.example.com", methods = ["GET"] },
            { name = "deep", path = "/d", host = "*.deep.example.com" },
        ]"#
        .replace('\n', " ")
        .trim(),
    ));
    let rows = [
        ("GET", "x", "/products/7", "item"),
        ("HEAD", "x", "/products/7", "item"),
        ("PUT", "x", "/products/7", "item-write"),
        ("POST", "x", "/products/7", "all"),
        ("PURGE", "x", "/products/7", "all"),
        ("GET", "x", "/products/new", "new"),
        ("POST", "x", "/products/new", "new-post"),
        ("GET", "x", "/img/a.png", "png"),
        ("GET", "x", "/img/a.jpg", "all"),
        ("GET", "x", "/products/7/", "all"),
        ("GET", "x", "/products/a%2Fb", "item"),
        ("GET", "x", "/", "-"),
        ("GET", "x", "", "-"),
        ("OPTIONS", "x", "*", "-"),
        ("GET", "api.example.com", "/products/7", "api"),
        ("PUT", "API.Example.com:8080", "/products/7", "api"),
        ("GET", "api.example.com", "/other", "sub"),
        ("POST", "api.example.com", "/other", "all"),
        ("GET", "b.example.com", "/products/7", "sub"),
        ("POST", "b.example.com", "/products/7", "all"),
        ("GET", "example.com", "/products/7", "item"),
        ("GET", "a.deep.example.com", "/d", "deep"),
        ("GET", "a.deep.example.com", "/e", "sub"),
        ("GET", "deep.example.com", "/d", "sub"),
    ];
    for (method, host, path, expected) in rows {
        assert_eq!(name(&routes, method, host, path), expected, "{method} {host} {path}");
    }
}

#[test]
fn captures_go_by_the_names_of_the_route_that_won() {
    let routes = Routes::new(&config(
        r#"
[[route]]
name = "get"
path = "/t/{tenant}/p/{id}"
methods = ["GET"]
[[route]]
name = "put"
path = "/t/{shop}/p/{item}"
methods = ["PUT"]
[[route]]
path = "/files/{*rest}"
"#,
    ));
    let captures = |method: &Method, path: &str| routes.find("h", method, path).captures;
    let pairs = |captures: &Captures| -> Vec<(String, String)> {
        captures.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let get = captures(&Method::GET, "/t/a/p/7");
    assert_eq!(pairs(&get), [pair("tenant", "a"), pair("id", "7")]);
    let put = captures(&Method::PUT, "/t/a/p/7%20x");
    assert_eq!(pairs(&put), [pair("shop", "a"), pair("item", "7%20x")]);
    assert_eq!(captures(&Method::GET, "/files/a/b/c").get("rest"), Some("a/b/c"));
    assert!(captures(&Method::DELETE, "/t/a/p/7").is_empty());
}

#[test]
fn head_goes_with_get_unless_another_route_lists_it() {
    let routes = Routes::new(&config(
        r#"
[[route]]
name = "get"
path = "/a"
methods = ["GET"]
[[route]]
name = "head"
path = "/a"
methods = ["HEAD"]
[[route]]
name = "rest"
path = "/{*rest}"
"#,
    ));
    assert_eq!(name(&routes, "HEAD", "h", "/a"), "head");
    assert_eq!(name(&routes, "GET", "h", "/a"), "get");
    assert_eq!(name(&routes, "POST", "h", "/a"), "rest");
}

#[test]
fn without_routes_everything_falls_back() {
    let config = config("");
    let routes = Routes::new(&config);
    let found = routes.find("h", &Method::GET, "/a");
    assert!(Arc::ptr_eq(&found.route, &config.fallback) && found.captures.is_empty());
}

#[test]
fn strange_hosts_and_paths_find_something() {
    let routes = Routes::new(&config(
        "[[route]]\npath = \"/{a}\"\nhost = \"*.h.test\"\n[[route]]\npath = \"/{*r}\"\nhost = \"[::1]\"\n",
    ));
    for host in ["", "[", "::1", "[::1]:80", "é", "..", ":", "\0"] {
        for path in ["", "/", "//", "é", "/é", "/a?b", "/\0"] {
            let _ = routes.find(host, &Method::GET, path);
        }
    }
}
