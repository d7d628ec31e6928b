package load

// addresses holds the sessions' full JIDs in slots of one size. The local part and resource that a server generates fit
// in 64 and 24 bytes at all servers examined.
type addresses struct {
	slot int
	text []byte
	size []uint8
}

const addressRoom = 64 + 24 + 2

// newAddresses makes room for n addresses of a domain.
func newAddresses(n int, domain string) addresses {
	slot := min(addressRoom+len(domain), 255)
	return addresses{slot, make([]byte, n*slot), make([]uint8, n)}
}

// set stores the address of session i in its XML form. It returns false if the address is empty or too long.
func (a *addresses) set(i uint32, jid []byte) bool {
	if len(jid) > a.slot || len(jid) == 0 {
		return false
	}
	a.size[i] = uint8(copy(a.text[int(i)*a.slot:], jid))
	return true
}

// at returns the address of session i, which is empty if it has none.
func (a *addresses) at(i uint32) []byte {
	from := int(i) * a.slot
	return a.text[from : from+int(a.size[i])]
}
