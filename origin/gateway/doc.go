// Package gateway forwards.
package gateway
