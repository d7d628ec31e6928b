package boshbody

// Terminal returns the <body> that ends a session with a terminal binding condition (XEP-0124 section 17.2). Edges and
// gateways send it if the session manager cannot.
func Terminal(condition string) []byte {
	return []byte("<body type='terminate' condition='" + condition + "' xmlns='" + Namespace + "'/>")
}
