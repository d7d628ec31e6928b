// Package packages builds the packages, looks into them, and has a real systemd install, start, upgrade and remove
// them: this host's own, booted in namespaces over an overlay, so that nothing of the host changes.
package packages
