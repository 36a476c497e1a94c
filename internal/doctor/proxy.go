package doctor

import (
	"context"
	"net/url"
	"os"
	"strings"
)

// proxyVariables are those by which programs are told of a proxy.
var proxyVariables = []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"}

// Proxy checks whether this machine is set to reach others through a proxy. A link
// does not use one: it is TCP of its own, which HTTP proxies do not pass on unless
// they are told to.
func Proxy(paths []*Path) Check { return proxy(paths, os.LookupEnv, systemProxy) }

func proxy(paths []*Path, env func(string) (string, bool), system func() string) Check {
	c := Check{Group: "network", Name: "proxy"}
	for _, p := range paths {
		c.After = append(c.After, Key("port", p.addr))
	}
	c.Run = func(context.Context) []Finding {
		var set []string
		for _, name := range proxyVariables {
			if v, ok := env(name); ok && v != "" {
				set = append(set, name+"="+withoutUser(v))
			}
		}
		if s := system(); s != "" {
			set = append(set, s)
		}
		if set == nil {
			return []Finding{Good("none is set, and the link uses none")}
		}
		text := "the link does not use the proxy that is set (" + strings.Join(set, ", ") + ")"
		for _, p := range paths {
			if !p.reached.Load() {
				return []Finding{Doubt("this network may let only its proxy out: ask for TCP to the collector's port to be let through, or for a forwarding of it",
					"%s, and %s is not reached without it", text, p.addr)}
			}
		}
		return []Finding{Good("%s, and needs none", text)}
	}
	return c
}

// withoutUser removes name and password from a proxy's address.
func withoutUser(s string) string {
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		return u.Scheme + "://" + u.Host
	}
	if _, host, ok := strings.Cut(s, "@"); ok {
		return host
	}
	return s
}
