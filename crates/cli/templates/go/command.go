// Writes its input in upper case.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"unicode/utf8"
)

func main() {
	content, err := io.ReadAll(os.Stdin)
	if err == nil && !utf8.Valid(content) {
		err = fmt.Errorf("the input is not UTF-8 text")
	}
	if err == nil {
		_, err = os.Stdout.Write(bytes.ToUpper(content))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
