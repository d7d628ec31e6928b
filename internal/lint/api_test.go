package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/tools/go/packages"
)

// load type-checks all packages of this module with their tests. Other modules come from the compiler's cache.
var load = sync.OnceValues(func() ([]*packages.Package, error) {
	const mode = packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes |
		packages.NeedTypesInfo | packages.NeedImports | packages.NeedForTest
	return packages.Load(&packages.Config{Dir: root, Tests: true, Mode: mode}, "./...")
})

func loaded(t *testing.T) []*packages.Package {
	t.Helper()
	pkgs, err := load()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pkgs {
		for _, err := range p.Errors {
			t.Fatalf("%s: %v", p.ID, err)
		}
	}
	return pkgs
}

// api is the exported names of the packages, and those of them that other packages use.
type api struct {
	declared   map[string]*declaration
	used       map[string]bool
	interfaces []*types.Interface
	verbs      map[string]bool // methods of this module's interfaces
}

// declaration is an exported name of a package, or of a method. Fields are exempt, because a struct of options or
// figures is exported as a whole.
type declaration struct {
	name   string // as go doc shows it
	object types.Object
	at     token.Position
	method types.Type // the type, if it is a method
}

// key identifies an object whether it comes from source or from the compiler, which forgets columns.
func key(fset *token.FileSet, o types.Object) string {
	p := fset.Position(o.Pos())
	return fmt.Sprintf("%s:%d:%s", p.Filename, p.Line, o.Name())
}

// declare adds the exported names of a package.
func (a *api) declare(p *packages.Package) {
	add := func(name string, o types.Object, method types.Type) {
		if o.Exported() {
			name = strings.TrimPrefix(p.PkgPath, module+"/") + "." + name
			a.declared[key(p.Fset, o)] = &declaration{name, o, p.Fset.Position(o.Pos()), method}
		}
	}
	scope := p.Types.Scope()
	for _, name := range scope.Names() {
		o := scope.Lookup(name)
		add(name, o, nil)
		tn, ok := o.(*types.TypeName)
		if !ok || tn.IsAlias() || !tn.Exported() {
			continue
		}
		named := tn.Type().(*types.Named)
		for m := range named.Methods() {
			add(name+"."+m.Name(), m, named)
		}
	}
}

// use notes the names of other packages that p uses.
func (a *api) use(p *packages.Package) {
	for _, o := range p.TypesInfo.Uses {
		if o.Pkg() != nil && o.Pkg().Path() != p.PkgPath && within(o.Pkg().Path(), module) && o.Exported() {
			a.used[key(p.Fset, o)] = true
		}
	}
}

// implement notes the interfaces that p declares or imports.
func (a *api) implement(p *packages.Package, seen map[string]bool) {
	for _, o := range p.TypesInfo.Defs {
		if tn, ok := o.(*types.TypeName); ok && types.IsInterface(tn.Type()) {
			for m := range tn.Type().Underlying().(*types.Interface).Methods() {
				a.verbs[m.Name()] = true
			}
		}
	}
	for _, f := range p.Syntax {
		ast.Inspect(f, func(n ast.Node) bool {
			if i, ok := n.(*ast.InterfaceType); ok {
				for _, m := range i.Methods.List {
					for _, name := range m.Names {
						a.verbs[name.Name] = true
					}
				}
			}
			return true
		})
	}
	var visit func(p *types.Package)
	visit = func(p *types.Package) {
		if seen[p.Path()] || within(p.Path(), module) {
			return
		}
		seen[p.Path()] = true
		for _, name := range p.Scope().Names() {
			if i, ok := p.Scope().Lookup(name).Type().Underlying().(*types.Interface); ok && i.NumMethods() > 0 {
				a.interfaces = append(a.interfaces, i)
			}
		}
		for _, q := range p.Imports() {
			visit(q)
		}
	}
	for _, q := range p.Types.Imports() {
		visit(q)
	}
}

// implements reports whether a method is there for an interface.
func (a *api) implements(d *declaration) bool {
	if d.method == nil {
		return false
	}
	return a.verbs[d.object.Name()] || slices.ContainsFunc(a.interfaces, func(i *types.Interface) bool {
		for m := range i.Methods() {
			if m.Name() == d.object.Name() {
				return types.Implements(types.NewPointer(d.method), i)
			}
		}
		return false
	})
}

// mention marks the types that the types of used names consist of, because go doc explains exported types only.
func (a *api) mention(fset *token.FileSet) {
	seen := map[types.Type]bool{}
	var visit func(t types.Type)
	visit = func(t types.Type) {
		if t == nil || seen[t] {
			return
		}
		seen[t] = true
		switch t := t.(type) {
		case *types.Named:
			if t.Obj().Pkg() != nil && within(t.Obj().Pkg().Path(), module) {
				a.used[key(fset, t.Obj())] = true
				if s, ok := t.Underlying().(*types.Struct); ok {
					for v := range s.Fields() {
						if v.Exported() {
							visit(v.Type())
						}
					}
				}
			}
			for arg := range t.TypeArgs().Types() {
				visit(arg)
			}
		case interface{ Elem() types.Type }:
			visit(t.Elem())
			if m, ok := t.(*types.Map); ok {
				visit(m.Key())
			}
		case *types.Signature:
			for v := range t.Params().Variables() {
				visit(v.Type())
			}
			for v := range t.Results().Variables() {
				visit(v.Type())
			}
		}
	}
	for k, d := range a.declared {
		if a.used[k] {
			visit(d.object.Type())
		}
	}
}

// enumerated reports whether a constant is a value of a type that is used, because the values of a type are exported as
// a whole.
func (a *api) enumerated(fset *token.FileSet, d *declaration) bool {
	if _, ok := d.object.(*types.Const); !ok {
		return false
	}
	named, ok := d.object.Type().(*types.Named)
	return ok && a.used[key(fset, named.Obj())]
}

// apiProblems names exported names that only their own package uses.
func apiProblems(pkgs []*packages.Package) (problems []string) {
	a := api{declared: map[string]*declaration{}, used: map[string]bool{}, verbs: map[string]bool{"Error": true}}
	seen := map[string]bool{}
	for _, p := range pkgs {
		if p.ForTest == "" && p.Name != "main" {
			a.declare(p)
		}
		a.use(p)
		a.implement(p, seen)
	}
	a.mention(pkgs[0].Fset)
	for k, d := range a.declared {
		dir, _, _ := strings.Cut(d.name, ".")
		if !a.used[k] && seams[dir] == "" && seams[d.name] == "" && !a.implements(d) && !a.enumerated(pkgs[0].Fset, d) {
			file, _ := filepath.Rel(root, d.at.Filename)
			problems = append(problems, fmt.Sprintf("%s:%d: no other package uses %s: unexport it", file, d.at.Line,
				d.name))
		}
	}
	slices.Sort(problems)
	return problems
}

// seams are exported names, or packages with all of theirs, whose first user is still to come. Until then tests of
// their own package use them.
var seams = map[string]string{
	"codec/ws.Code.Sendable": "codes of origins", "codec/ws.Refusals": "WebSocket at the edge",
	"record.PeerAlert": "TLS on links", "record.State.Update": "WebSocket over TLS, which outlives its keys",
}

func TestExportedNamesAreUsedOutside(t *testing.T) {
	for _, problem := range apiProblems(loaded(t)) {
		t.Error(problem)
	}
}
