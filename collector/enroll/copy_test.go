package enroll

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// TestCopy: the authority, revocations and the bearer token's hash go along, tokens
// and the bearer token itself do not; nothing is written where it is copied from.
func TestCopy(t *testing.T) {
	dir, to := t.TempDir(), t.TempDir()
	if err := Copy(dir, to); err != nil {
		t.Fatal(err)
	}
	if list, _ := os.ReadDir(to); len(list) > 0 {
		t.Errorf("copied from nothing: %v", list)
	}
	r := registry(t, Options{Dir: dir})
	secret := token(t, r, TokenOptions{})
	m := newMachine(t)
	if err := m.enroll(t, r, "pump-7", token(t, r, TokenOptions{})); err != nil {
		t.Fatal(err)
	}
	if err := r.Revoke(t.Context(), "pump-8"); err != nil {
		t.Fatal(err)
	}
	if _, err := FirstBearer(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, folderName)
	if err := os.Chmod(folder, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(folder, 0o700)
	if err := Copy(dir, to); err != nil {
		t.Fatal(err)
	}
	c, err := Open(Options{Dir: to})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.enroll(t, c, "pump-7", nil); err != nil { // a renewal
		t.Errorf("the agent is not known to the copy: %v", err)
	}
	if c.since("pump-8").IsZero() {
		t.Error("the revocation is gone")
	}
	wantCode(t, "a token at the copy", newMachine(t).enroll(t, c, "pump-9", secret), wire.RefuseToken, "not known here")
	if _, err := os.Stat(filepath.Join(to, folderName, untakenFile)); err == nil {
		t.Error("the bearer token is in the copy")
	}
}
