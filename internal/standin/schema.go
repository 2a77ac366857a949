package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

func (b *block) schema() (*tfprotov6.Schema, error) {
	body, err := b.protocol()
	return &tfprotov6.Schema{Block: body}, err
}

func (b *block) protocol() (*tfprotov6.SchemaBlock, error) {
	body := &tfprotov6.SchemaBlock{}
	var err error
	if body.Attributes, err = b.protocolAttributes(); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(b.blocks)) {
		n := b.blocks[name]
		inner, err := n.body.protocol()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		nested := &tfprotov6.SchemaNestedBlock{TypeName: name, Block: inner, Nesting: blockNesting[n.nesting]}
		if n.nesting == one {
			nested.MaxItems = 1
		}
		if n.required && n.nesting != single {
			nested.MinItems = 1
		}
		body.BlockTypes = append(body.BlockTypes, nested)
	}
	return body, nil
}

var blockNesting = map[nesting]tfprotov6.SchemaNestedBlockNestingMode{
	single: tfprotov6.SchemaNestedBlockNestingModeSingle,
	one:    tfprotov6.SchemaNestedBlockNestingModeList,
	list:   tfprotov6.SchemaNestedBlockNestingModeList,
	set:    tfprotov6.SchemaNestedBlockNestingModeSet,
}

func (b *block) protocolAttributes() (all []*tfprotov6.SchemaAttribute, err error) {
	for _, name := range slices.Sorted(maps.Keys(b.attributes)) {
		a := b.attributes[name]
		wire := &tfprotov6.SchemaAttribute{
			Name: name, Required: a.required, Optional: !a.required && (!a.computed || oftenComputed[name]), Computed: a.computed,
		}
		if a.body == nil {
			wire.Type, err = typeOf(a.kind)
		} else {
			wire.NestedType, err = a.object()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, wire)
	}
	return all, nil
}

func (a attribute) object() (*tfprotov6.SchemaObject, error) {
	attributes, err := a.body.protocolAttributes()
	nesting := tfprotov6.SchemaObjectNestingModeList
	switch a.nesting {
	case single:
		nesting = tfprotov6.SchemaObjectNestingModeSingle
	case set:
		nesting = tfprotov6.SchemaObjectNestingModeSet
	}
	return &tfprotov6.SchemaObject{Attributes: attributes, Nesting: nesting}, err
}

var primitives = map[string]tftypes.Type{
	"string": tftypes.String, "number": tftypes.Number, "boolean": tftypes.Bool, "any": tftypes.DynamicPseudoType,
}

// typeOf translates the typings' words, as in stringMap.
func typeOf(kind string) (tftypes.Type, error) {
	if primitive := primitives[kind]; primitive != nil {
		return primitive, nil
	}
	for _, collection := range []string{"List", "Set", "Map"} {
		of, found := strings.CutSuffix(kind, collection)
		element := primitives[of]
		switch {
		case !found || element == nil:
		case collection == "List":
			return tftypes.List{ElementType: element}, nil
		case collection == "Set":
			return tftypes.Set{ElementType: element}, nil
		default:
			return tftypes.Map{ElementType: element}, nil
		}
	}
	return nil, fmt.Errorf("the type %q is not known", kind)
}

// computes reports whether the attribute at a path is one that the provider
// gives a value where the configuration does not.
func (b *block) computes(path *tftypes.AttributePath) bool {
	computed := false
	for _, step := range path.Steps() {
		name, isName := step.(tftypes.AttributeName)
		if !isName {
			continue // an element of a list or set
		}
		inner, isBlock := b.blocks[string(name)]
		a, isAttribute := b.attributes[string(name)]
		computed = isAttribute && a.computed
		switch {
		case isBlock:
			b = inner.body
		case a.body == nil || computed:
			return computed
		default:
			b = a.body
		}
	}
	return computed
}
