package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience bounds a run of the suite, which takes 20 seconds of CPU time.
const patience = 5 * time.Minute

// leastPassed is a bit less than what passes, so that a suite that ran no tests is noticed.
const leastPassed = 440

// skipped are tests of other protocols. The shim would refuse them one by one.
const skipped = "*DTLS*;*QUIC*;ECH-*"

// reason is why tests fail, or differ. Tests are named by patterns of path.Match.
type reason struct{ why, tests string }

// differences are the tests that end in another way with package secure than with crypto/tls.
var differences = []reason{
	{"Renegotiation in TLS 1.2 gets the warning no_renegotiation, and the connection continues (RFC 5246 section " +
		"7.2.2). crypto/tls ends it. BoGo wants a fatal alert.",
		"Renegotiate-Server-Forbidden Renegotiate-Client-Forbidden-1 Renegotiate-Client-NoIgnore"},
	{"32 records in a row may be empty, as BoringSSL has it. crypto/tls takes 16.", "SendEmptyRecords-Pass"},
	{"ChangeCipherSpec after the handshake of TLS 1.3 is refused, as RFC 8446 section 5 demands. crypto/tls drops it.",
		"SendPostHandshakeChangeCipherSpec-TLS13"},
}

// failures are the tests that fail with crypto/tls, too.
var failures = []reason{
	{"TLS 1.0 and 1.1 are refused.", "*TLS1 *TLS11 *TLS1-* *TLS11-* Downgrade-TLS1[01]-Server FallbackSCSV " +
		"ConflictingVersionNegotiation"},
	{"Sessions are resumed by tickets only, not by session IDs.",
		"Resume-Server-NoTickets-TLS12-TLS12-TLS TLS12-NoTicket-NoMint SupportTicketsWithSessionID"},
	{"There is neither RSA key exchange nor CBC.", "Basic-Server-RSA-TLS-Sync* NoCommonCurves MaxCBCPadding " +
		"*_CBC_SHA-LargeRecord TLS-TLS12-RSA_WITH_*-LargeRecord Downgrade-TLS10-Client NoSSL3-Client-Unsolicited " +
		"RSAKeyUsage-Client-WantSignature-GotEncipherment-UnenforcedTLS12"},
	{"There is no early data: a hello that announces it is refused, and tickets have no extensions.",
		"SkipEarlyData-* TLS13-ExpectTicketEarlyDataSupport GREASE-Server-TLS13"},
	{"TLS 1.2 demands the extensions for curves and signature algorithms.",
		"ServerAuth-SHA1-Fallback-* OmitExtensions-ClientHello-TLS12 EmptyExtensions-ClientHello-TLS12"},
	{"The hello is that of TLS 1.3, and has a key of ML-KEM.", "ClientHelloPadding TLS12NoSessionID-TLS13"},
	{"A KeyUpdate is answered at once, and not with the next data.", "KeyUpdate-RequestACK"},
	{"The alert is another one than BoGo wants, or there is none.",
		"Resume-Server-PSKBinderFirstExtension* TrailingMessageData-* TrailingDataWithFinished-* " +
			"HelloRetryRequest-Duplicate* HelloRetryRequest-Unknown-TLS13 " +
			"PartialServerHelloWithHelloRetryRequest SendBogusAlertType SendWarningAlerts-TLS13 " +
			"UnofferedExtension-Client-TLS13"},
	{"crypto/tls accepts what BoringSSL refuses.",
		"TicketSessionIDLength-33-* Server-TooLongSessionID-* DuplicateKeyShares-TLS13 " +
			"DuplicateCertCompressionExt-* PartialClientKeyExchangeWithClientHello " +
			"Resume-Server-UnofferedCipher-TLS13 Client-RejectJDK11DowngradeRandom Client-TooLongSessionID " +
			"ECDSAKeyUsage-Client-* EMS-Forbidden-TLS13 Ed25519DefaultDisable-* " +
			"EncryptedExtensionsWithKeyShare-TLS13 PointFormat-EncryptedExtensions-TLS13 " +
			"RSAKeyUsage-Client-WantSignature-GotEncipherment-EnforcedTLS13 RenegotiationInfo-Forbidden-TLS13 " +
			"SendUnknownExtensionOnCertificate-TLS13 SendUnsolicited*OnCertificate-TLS13 " +
			"SendUserCanceledAlerts-TooMany-TLS13 SendWarningAlerts-TooMany SkipNewSessionTicket " +
			"SupportedVersionSelection-TLS12 TLS13-DuplicateTicketEarlyDataSupport UnknownExtension-Client* " +
			"UnknownUnencryptedExtension-Client-TLS13 UnsolicitedServerNameAck-TLS-* " +
			"WrongMessageType-NewSessionTicket-TLS"},
	{"crypto/tls makes a full handshake where BoringSSL refuses the client.",
		"Resume-Server-OmitPSKsOnSecondClientHello TLS13-SendNoKEMModesWithPSK-Server"},
}

// why returns the reason for a test, or "".
func why(list []reason, test string) string {
	for _, r := range list {
		for pattern := range strings.FieldsSeq(r.tests) {
			if ok, err := path.Match(pattern, test); err != nil {
				panic(err)
			} else if ok {
				return r.why
			}
		}
	}
	return ""
}

// results are how the tests have ended, without those that were skipped: PASS, or how they have failed.
type results map[string]string

func (r results) passed() (n int) {
	for _, result := range r {
		if result == "PASS" {
			n++
		}
	}
	return n
}

// failurePattern finds a failed test in BoGo's output, and what BoGo has seen. numbers are ports.
var (
	failurePattern = regexp.MustCompile(`FAILED \((\S+)\)\n(.*), child error `)
	numbers        = regexp.MustCompile(`\]:\d+`)
)

// readResults reads the report and the output of a run.
func readResults(report, output []byte) (results, error) {
	var all struct {
		Interrupted bool
		Tests       map[string]struct{ Actual string }
	}
	if err := json.Unmarshal(report, &all); err != nil {
		return nil, err
	}
	if all.Interrupted {
		return nil, fmt.Errorf("interrupted")
	}
	r := results{}
	for name, test := range all.Tests {
		if test.Actual != "SKIP" {
			r[name] = test.Actual
		}
	}
	for _, m := range failurePattern.FindAllSubmatch(output, -1) {
		r[string(m[1])] = string(numbers.ReplaceAll(m[2], []byte("]")))
	}
	return r, nil
}

// runSuite runs BoGo with a shim.
func runSuite(t *testing.T, suite, shim, reference string) results {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report.json")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(suite, "bogo"), "-shim-path", shim, "-json-output", report, "-pipe",
		"-allow-unimplemented", "-loose-errors", "-num-workers", "4", "-skip", skipped)
	cmd.Dir = filepath.Join(suite, "runner")
	cmd.Env = append(os.Environ(), "SHIM_REFERENCE="+reference)
	output, err := cmd.CombinedOutput() // its exit status says that there are failures
	text, fault := os.ReadFile(report)
	if fault != nil {
		t.Fatalf("BoGo: %v\n%s", err, output)
	}
	r, err := readResults(text, output)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// problems compares two runs, and returns the results that have no reason.
func problems(got, want results) (list []string) {
	names := maps.Clone(got)
	maps.Copy(names, want)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		switch a, b := got[name], want[name]; {
		case a != b && why(differences, name) == "":
			list = append(list, fmt.Sprintf("%s: %q, but crypto/tls: %q", name, a, b))
		case a == b && a != "PASS" && why(failures, name) == "":
			list = append(list, fmt.Sprintf("%s fails without a reason: %s", name, a))
		}
	}
	return list
}

// TestBoGo: both ends pass and fail the tests that crypto/tls passes and fails.
func TestBoGo(t *testing.T) {
	suite, err := filepath.Abs("../../.bogo")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(suite, "bogo")); err != nil {
		t.Fatalf("%v: run make setup-test", err)
	}
	shim := filepath.Join(t.TempDir(), "shim")
	if out, err := exec.Command("go", "build", "-o", shim, "./shim").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got, want := runSuite(t, suite, shim, ""), runSuite(t, suite, shim, "crypto/tls")
	t.Logf("package secure passes %d of %d tests, and crypto/tls %d of %d", got.passed(), len(got), want.passed(),
		len(want))
	for _, p := range problems(got, want) {
		t.Error(p)
	}
	if got.passed() < leastPassed {
		t.Errorf("only %d tests have passed", got.passed())
	}
	counts := map[string]int{}
	for name, result := range got {
		if reason := why(append(differences, failures...), name); result != "PASS" {
			counts[reason]++
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%d fail: %s", counts[reason], reason)
	}
}

// TestDifferencesAreFound: a difference, and a failure without a reason, are problems; those with a reason are not.
func TestDifferencesAreFound(t *testing.T) {
	const failed = "FAILED (%s)\nbad error (wanted '' / 'x'): local error 'read [::1]:%d: reset', child error 'none'"
	read := func(port int, names ...string) results {
		var output strings.Builder
		report := `{"tests": {"A": {"actual": "PASS"}, "S": {"actual": "SKIP"}`
		for _, name := range names {
			report += fmt.Sprintf(`, %q: {"actual": "FAIL"}`, name)
			fmt.Fprintf(&output, failed+"\n", name, port)
		}
		r, err := readResults([]byte(report+"}}"), []byte(output.String()))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, test := range []struct {
		got, want results
		problems  int
	}{
		{read(1), read(2), 0},
		{read(1, "FallbackSCSV"), read(2, "FallbackSCSV"), 0},
		{read(1, "FallbackSCSV"), read(2), 1},
		{read(1), read(2, "FallbackSCSV"), 1},
		{read(1, "New"), read(2, "New"), 1},
		{read(1, "Renegotiate-Server-Forbidden"), read(2), 0},
	} {
		if list := problems(test.got, test.want); len(list) != test.problems {
			t.Errorf("%v and %v: %q", test.got, test.want, list)
		}
	}
	if _, err := readResults([]byte(`{"interrupted": true}`), nil); err == nil {
		t.Error("an interrupted run has results")
	}
}
