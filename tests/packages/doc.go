// Package packages builds the packages, looks into them, and has a real systemd install, start, upgrade and remove
// them, in namespaces over an overlay, so that nothing of the host changes. It is this host's own system, or a fresh
// Debian in which our documents are followed to the letter.
package packages
