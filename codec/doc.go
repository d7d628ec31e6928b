// Package codec turns bytes into what they mean and back.
package codec
