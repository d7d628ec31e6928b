// Package acme obtains the certificates of an edge's listeners from a CA (ACME, RFC 8555), and renews them.
//
//	Want ---> subjects <--- files: certificates, failures
//	             |
//	Run: next -> prepare (renewal information, lock, files) -> order (package acmez) -> files -> Options.Changed
//	                                                             |
//	                                                             '-> Challenges -> Options.Publish
//
// A Manager has one goroutine, and it makes one order after the other. It opens no port. The answers to the CA's
// challenges are published: for http-01 a text at a path, for tls-alpn-01 (RFC 8737) a certificate. Publish returns
// when all listeners have them, and only then the CA is told to look.
//
// # Files
//
// The state directory has a directory for each CA, with the key of the account. For each domain it has the certificate
// and its key, in one file, so that a renewal replaces both at once, and the failures since then. Directories have mode
// 0700, files 0600. Only the process that has the lock (flock) orders, and it has it until Run or the process ends. So
// a predecessor and its successor do not both order. A process without the lock takes the certificates that the other
// one has obtained.
//
// # Times
//
// A certificate is renewed when the CA says (ARI, RFC 9773), otherwise after 7/12 to 2/3 of its life. The point in that
// window is a hash of the certificate, so that a restart does not change it. After a failure an order waits: first a
// minute if the CA was not reached, a quarter of an hour if it refused, then twice as long each time, and never less
// than the CA asks for. Failures are kept in the files, so that a restart does not shorten the wait. Retry does.
//
// # Bounds
//
// An order may take five minutes. There are as many subjects as domains in the configuration, and an order has one
// challenge.
package acme
