package daemon

// Value is a flag whose text is checked while the command line is read, so that
// a bad one is an error of the command line. It implements [pflag.Value].
type Value struct {
	Given bool // the flag was on the command line

	kind string
	text string
	set  func(string) error
}

// NewValue returns a flag's value. kind stands for it in the help, as in FILE;
// text is the default for the help, "" for none; set takes a given text.
func NewValue(kind, text string, set func(string) error) *Value {
	return &Value{kind: kind, text: text, set: set}
}

// Set takes what was given. A flag that is given more often is set each time.
func (v *Value) Set(s string) error {
	if err := v.set(s); err != nil {
		return err
	}
	v.Given, v.text = true, s
	return nil
}

// String returns the text that was given last, or the default's.
func (v *Value) String() string { return v.text }

// Type returns the word for the value in the help.
func (v *Value) Type() string { return v.kind }
