package main

import "testing"

func TestMSIVersion(t *testing.T) {
	for in, want := range map[string]string{
		"v0.4.2": "0.4.2", "1.12.345": "1.12.345", "v0.4.2-rc1-3-gabcdef": "0.4.2", "devel": "0.0.0", "": "0.0.0", "v1.2": "0.0.0", "v1234.0.0": "0.0.0",
	} {
		if got := msiVersion(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func TestSigningTakesBothOrNone(t *testing.T) {
	if err := (&signer{}).sign("nothing", ""); err != nil {
		t.Error(err)
	}
	if err := (&signer{cert: "c.pem"}).sign("nothing", ""); err == nil {
		t.Error("a certificate without its key was taken")
	}
}
