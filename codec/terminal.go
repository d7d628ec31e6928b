package codec

// Terminal is the <body> that ends a session with a terminal binding condition (XEP-0124 section 17.2), for those who
// speak in the session manager's place when it cannot: edges and gateways.
func Terminal(condition string) []byte {
	return []byte("<body type='terminate' condition='" + condition + "' xmlns='" + Namespace + "'/>")
}
