//go:build !invariants

package table

// Without the build tag invariants nothing is checked and nothing poisoned; these calls compile to nothing.

func (t *Conns) checkInvariants()      {}
func (t *Holds) checkInvariants(*Conn) {}
func (w *Wheel) checkInvariants()      {}
func checkConnPoison(*Conn)            {}
func checkHoldPoison(*Hold)            {}
func poisonConn(*Conn)                 {}
func poisonHold(*Hold)                 {}
