package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// signer signs programs and installers (Authenticode). One without a certificate
// signs nothing.
type signer struct {
	cert, key string // paths, PEM
	timestamp string // address, may be empty
}

func (s *signer) sign(path, what string) error {
	if s.cert == "" && s.key == "" {
		return nil
	}
	if s.cert == "" || s.key == "" {
		return errors.New("to sign, give both -cert and -key")
	}
	args := []string{"sign", "-certs", s.cert, "-key", s.key, "-h", "sha256", "-n", what, "-in", path, "-out", path + ".signed"}
	if s.timestamp != "" {
		args = append(args, "-ts", s.timestamp)
	}
	if err := run(exec.Command("osslsigncode", args...)); err != nil {
		return fmt.Errorf("sign %s: %w", path, err)
	}
	return os.Rename(path+".signed", path)
}
