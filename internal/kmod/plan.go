package kmod

// Step is a module to load.
type Step struct {
	Name string
	File string // relative to the tree
	// Needs are the indices of the steps that have to succeed before it, After
	// of those that only have to be over. They are all smaller than its own.
	Needs, After []int
}

// Plan lists the modules to load for names, each after those that it needs,
// without those that are built in or already loaded. Left out are modules that
// the tree does not have, or whose files it does not have: the initramfs may
// come with the index of all modules and only a few of them. Cycles of softdeps
// are cut.
func (t *Tree) Plan(names []string, loaded func(name string) bool) []Step {
	p := planner{tree: t, loaded: loaded, index: map[string]int{}}
	for _, n := range names {
		p.visit(normal(n))
	}
	return p.steps
}

type planner struct {
	tree   *Tree
	loaded func(string) bool
	steps  []Step
	index  map[string]int // name -> step, or visiting
}

const visiting = -1

// visit adds name and what it needs. It returns its step; false when there is
// nothing to load or to wait for.
func (p *planner) visit(name string) (int, bool) {
	if i, seen := p.index[name]; seen {
		return i, i != visiting
	}
	file, files, ok := p.tree.files(name)
	if !ok || p.tree.builtin[name] || p.loaded(name) || !p.tree.present(append(files, file)) {
		return 0, false
	}
	p.index[name] = visiting
	soft := p.tree.soft[name]
	step := Step{Name: name, File: file, After: p.visitSoft(soft.pre)}
	for _, f := range files {
		if i, ok := p.visit(Name(f)); ok {
			step.Needs = append(step.Needs, i)
		}
	}
	me := len(p.steps)
	p.index[name] = me
	p.steps = append(p.steps, step)
	for _, i := range p.visitSoft(soft.post) {
		if i > me {
			p.steps[i].After = append(p.steps[i].After, me)
		}
	}
	return me, true
}

func (p *planner) visitSoft(words []string) []int {
	var steps []int
	for _, w := range words {
		names := []string{normal(w)}
		if !p.tree.Has(w) {
			names = p.tree.softAliases()[w]
		}
		for _, n := range names {
			if i, ok := p.visit(n); ok {
				steps = append(steps, i)
			}
		}
	}
	return steps
}
