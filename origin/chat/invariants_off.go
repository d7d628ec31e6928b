//go:build !invariants

package chat

// checkInvariants is a no-op without -tags invariants.
func (s *Service) checkInvariants() {}
