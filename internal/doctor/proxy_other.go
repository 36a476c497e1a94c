//go:build !windows

package doctor

// systemProxy is "": outside Windows the environment says it.
func systemProxy() string { return "" }
