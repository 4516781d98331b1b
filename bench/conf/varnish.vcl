# Varnish with its built-in VCL. Storage (-s malloc,4G) is on its command line; threads, the
# shared-memory log and everything else are at their defaults. @NAMES@ are filled in by bench/compare.
vcl 4.1;

backend origin {
  .host = "127.0.0.1";
  .port = "@ORIGIN_PORT@";
}

sub vcl_recv {
  # Declared uncacheable, as in every configuration here.
  if (req.url ~ "^/pass/") {
    return (pass);
  }
}
