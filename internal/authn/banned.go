package authn

// Banned is how many accounts (each at one address) and how many addresses are refused now
// for their failures.
func (g *Guard) Banned() (accounts, addresses int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.o.Now()
	count := func(t *table, limit int) (n int) {
		for key := range t.m {
			if g.blocked(t, key, limit, now) > 0 {
				n++
			}
		}
		return n
	}
	return count(&g.pairs, g.o.FailuresPerPair), count(&g.addrs, g.o.FailuresPerAddress)
}
