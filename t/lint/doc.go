// Package lint checks what must hold of every file of the repository: make lint runs it.
//
// # What is checked
//
// The layout: DESIGN.rst lists the packages, and a package imports only what stands above
// it there. The size of files, functions and of the part of the core that must stay small
// enough to be read as a whole. The words of comments and documents. The claims of
// documents about the code, where a program can compare. The findings of staticcheck,
// errcheck and deadcode; their versions are those of go.mod.
//
// # Budgets
//
// A rule that is not kept everywhere yet has a budget in budget.txt: the places that break
// it, or how many there are. Nothing may be added. When there is less than the budget allows
// the test fails as well, so that the ground is not lost again:
//
//	go test ./t/lint -shrink
//
// lowers the budget to what there is, and never raises it.
package lint
