//go:build !invariants

package table

// Without the build tag invariants there are no checks and no poison. These calls compile to nothing.

func (t *Conns) checkInvariants()      {}
func (t *Holds) checkInvariants(*Conn) {}
func (w *Wheel) checkInvariants()      {}
func checkConnPoison(*Conn)            {}
func checkHoldPoison(*Hold)            {}
func poisonConn(*Conn)                 {}
func poisonHold(*Hold)                 {}
