// Package templates holds the files of a deployment folder as text/template sources,
// one for each generated file. It has no logic: internal/scaffold renders them and says
// which functions and data they see.
//
// House rules for a template: every value goes through the quoting function of its
// file's format (yaml, compose, env, caddy, caddyname); a comment tells the person who
// opens the file at night why a line is there and what changing it takes; nothing
// secret goes into a file that is readable by everybody.
package templates

import "embed"

// FS holds the templates, named as the files that they become, with the suffix .tmpl.
//
//go:embed *.tmpl
var FS embed.FS
