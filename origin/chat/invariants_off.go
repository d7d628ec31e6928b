//go:build !invariants

package chat

// checkInvariants does something under -tags invariants.
func (s *Service) checkInvariants() {}
