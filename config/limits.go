package config

import (
	"fmt"

	"megaphone/loop"
)

func parseConnectionBurst(c *Config, _ *Values) error {
	return checkBurst("connection-burst-per-address", c.AddressConnectionBurst, c.AddressConnectionRate)
}

func parseRequestBurst(c *Config, _ *Values) error {
	return checkBurst("request-burst-per-address", c.AddressRequestBurst, c.AddressRequestRate)
}

// checkBurst checks that a burst holds all requests of a tick, because time advances in ticks.
func checkBurst(key string, burst, rate int) error {
	if least := (rate*loop.TickMillis + 999) / 1000; burst < least {
		return bad(key, burst, fmt.Sprintf("use %d or more, a tenth of the rate", least))
	}
	return nil
}

func parseLimitExempt(c *Config, v *Values) (err error) {
	v.LimitExempt, err = parseNetworks("limit-exempt", c.LimitExempt)
	return err
}

func parseMinCreations(c *Config, _ *Values) error {
	if c.MinCreations > c.MaxCreations {
		return bad("min-creations", c.MinCreations,
			fmt.Sprintf("use at most max-creations, which is %d", c.MaxCreations))
	}
	return nil
}

func parseTables(c *Config, v *Values) (err error) {
	v.DescriptorTables, err = loop.ParseTables(c.DescriptorTables)
	return err
}
