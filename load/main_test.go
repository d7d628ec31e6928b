package load

import (
	"flag"
	"os"
	"testing"
)

// TestMain lets many tests run at once, because most of them wait for a server's wait to end.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
