-- /etc/prosody/conf.d/megaphone.cfg.lua: a BOSH endpoint for the gateway on this host, and for nobody else.
http_ports = { 5280 }
http_interfaces = { "127.0.0.1" }
https_ports = { }
-- The gateway says in X-Forwarded-For who the client is.
trusted_proxies = { "127.0.0.1" }
-- TLS has ended before the edge, so passwords may come.
consider_bosh_secure = true
-- What the gateway asks for by the address of this host.
http_default_host = "example.org"

VirtualHost "example.org"
	modules_enabled = { "bosh" }
