package config

import (
	"errors"
	"maps"

	"github.com/goccy/go-yaml/ast"
)

// TLS names the files of a certificate, its key and the authorities to trust, in
// PEM; all of them or none.
type TLS struct {
	CA, Cert, Key string
	ServerName    string // of an agent: the name that collectors' certificates have, "": the address's host
}

// Given reports whether there are files.
func (t *TLS) Given() bool { return t.Cert != "" }

// tls makes the field tls, with more keys beside the files. plaintext is what
// excludes it, which may be given behind it.
func (d *decoder) tls(to *TLS, plaintext *bool, more fields) field {
	known := fields{
		"ca":   d.scalar(func(s string) (err error) { to.CA, err = notEmpty(s); return }),
		"cert": d.scalar(func(s string) (err error) { to.Cert, err = notEmpty(s); return }),
		"key":  d.scalar(func(s string) (err error) { to.Key, err = notEmpty(s); return }),
	}
	maps.Copy(known, more)
	return func(n ast.Node, path string) {
		before := len(d.problems)
		d.mapping(n, path, known)
		if len(d.problems) > before {
			return
		}
		some := to.CA != "" || to.Cert != "" || to.Key != "" || to.ServerName != ""
		if some && (to.CA == "" || to.Cert == "" || to.Key == "") {
			d.fail(n, path, "give all of ca, cert and key: or none of them, and certificates come from enrolment")
		}
		d.later = append(d.later, func() {
			if *plaintext {
				d.fail(n, path, "insecure_plaintext is set as well; leave one of them out")
			}
		})
	}
}

// boolean makes a field of true or false.
func (d *decoder) boolean(to *bool) field {
	return d.scalar(func(s string) error {
		if s != "true" && s != "false" {
			return errors.New("want true or false")
		}
		*to = s == "true"
		return nil
	})
}
