// Reads Terraform's language on stdin, and prints its string literals; fails unless it is formatted as terraform fmt does.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

func main() {
	source, err := io.ReadAll(os.Stdin)
	check(err)
	file, diagnostics := hclsyntax.ParseConfig(source, "stdin", hcl.InitialPos)
	if diagnostics.HasErrors() {
		check(diagnostics)
	}
	if formatted := hclwrite.Format(source); !bytes.Equal(formatted, source) {
		fmt.Fprintf(os.Stderr, "terraform fmt writes:\n%s", formatted)
		os.Exit(1)
	}
	literals := []string{}
	hclsyntax.VisitAll(file.Body.(*hclsyntax.Body), func(node hclsyntax.Node) hcl.Diagnostics {
		if template, ok := node.(*hclsyntax.TemplateExpr); ok {
			value, diagnostics := template.Value(nil)
			// One with an expression in it has no value here.
			if !diagnostics.HasErrors() && value.Type() == cty.String {
				literals = append(literals, value.AsString())
			}
		}
		return nil
	})
	check(json.NewEncoder(os.Stdout).Encode(literals))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
