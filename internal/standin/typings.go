package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// schemas are what a provider knows, as its typings have it.
type schemas struct {
	config    *block
	resources map[string]*block // by type, as in aws_s3_bucket
	data      map[string]*block
}

// block is the body of a resource, or of a block in it.
type block struct {
	attributes map[string]attribute
	blocks     map[string]nested
}

// attribute has one value.
type attribute struct {
	kind               string // string, number, boolean, stringList, stringSet, stringMap, ...
	body               *block // of an object; kind is then empty
	nesting            nesting
	required, computed bool
}

// nested is a block in a block.
type nested struct {
	body     *block
	nesting  nesting
	required bool
}

type nesting int

const (
	single nesting = iota
	one            // a list of at most one
	list
	set
)

// readPackage reads what test.sh has unpacked of a package: a directory for each
// resource and data source, with index.js and index.d.ts.
func readPackage(dir, provider string) (*schemas, error) {
	read := &schemas{resources: map[string]*block{}, data: map[string]*block{}}
	sources, err := filepath.Glob(filepath.Join(dir, "lib", "*", "index.js"))
	if err != nil {
		return nil, err
	}
	for _, path := range sources {
		if err := read.add(filepath.Dir(path), provider); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if read.config == nil || len(read.resources) == 0 {
		return nil, fmt.Errorf("no typings of %s in %s: ./test.sh --install-only puts them into .tools/typings, which STANDIN_TYPINGS should name", provider, dir)
	}
	return read, nil
}

func (s *schemas) add(dir, provider string) error {
	js, err := os.ReadFile(filepath.Join(dir, "index.js"))
	if err != nil {
		return err
	}
	types, err := os.ReadFile(filepath.Join(dir, "index.d.ts"))
	if err != nil {
		return err
	}
	t := typing{string(js), string(types)}
	class, parent := t.main()
	if class == "" {
		return errors.New("no class of a resource, data source or provider")
	}
	body, err := t.body(class, class+"Config")
	if err != nil {
		return err
	}
	name := resourceType.FindStringSubmatch(t.js)
	switch {
	case parent == "Provider":
		s.config = body
	case name == nil:
		return errors.New("no tfResourceType")
	case parent == "Resource":
		s.resources[name[1]] = body
	default:
		s.data[name[1]] = body
	}
	return nil
}

// typing is one directory's pair of files.
type typing struct{ js, types string }

var (
	mainClass    = regexp.MustCompile(`(?m)^class (\w+) extends cdktf\.Terraform(Resource|DataSource|Provider) \{$`)
	resourceType = regexp.MustCompile(`(?m)\.tfResourceType = "(\w+)";$`)
	entry        = regexp.MustCompile(`(?m)^ {8,12}(\w+): \{\n\s+value: (.*),\n\s+isBlock: (true|false),\n\s+type: "(\w+)",\n\s+storageClassType: "(\w+)",\n`)
	property     = regexp.MustCompile(`(?:this\._|struct\.)(\w+)`)
	getter       = regexp.MustCompile(`(?m)^    get \w+\(\) \{\n(?:        //.*\n)*        return (.*);\n`)
	remote       = regexp.MustCompile(`this\.get(\w+)Attribute\('(\w+)'\)`)
	field        = regexp.MustCompile(`this\._\w+ = new (\w+)\(this, "(\w+)"(, true)?`)
	indexed      = regexp.MustCompile(`super\(terraformResource, terraformAttribute, (false, 0|complexObjectIsFromSet, complexObjectIndex)\);`)
)

func (t typing) main() (class, parent string) {
	if found := mainClass.FindStringSubmatch(t.js); found != nil {
		return found[1], found[2]
	}
	return "", ""
}

// between is the text from start, which must be there, to the end after it.
func between(text, start, end string) (string, bool) {
	_, rest, found := strings.Cut(text, start)
	inside, _, closed := strings.Cut(rest, end)
	return inside, found && closed
}

// body reads a class: what may be set is in a map that writes HCL, and what is
// required in the interface; what else can be read is the provider's to know.
func (t typing) body(class, of string) (*block, error) {
	methods, found := between(t.js, "\nclass "+class+" extends ", "\n}\n")
	if !found {
		return nil, fmt.Errorf("no class %s", class)
	}
	settable, found := between(methods, "    synthesizeHclAttributes() {\n", "\n    }")
	if !found {
		settable, found = between(t.js, "\nfunction "+strings.ToLower(of[:1])+of[1:]+"ToHclTerraform(struct) {\n", "\n}\n")
	}
	if !found {
		return nil, fmt.Errorf("nothing says what may be set in a %s", class)
	}
	b := &block{map[string]attribute{}, map[string]nested{}}
	fields := map[string][]string{}
	for _, f := range field.FindAllStringSubmatch(methods, -1) {
		fields[f[2]] = f
	}
	if err := t.addSettable(b, settable, of, fields); err != nil {
		return nil, err
	}
	return b, t.addComputed(b, methods, fields)
}

func (t typing) addSettable(b *block, text, of string, fields map[string][]string) error {
	for _, e := range entry.FindAllStringSubmatch(text, -1) {
		name, value, hasBody, kind := e[1], e[2], e[3] == "true", e[5]
		wanted, isBlock, err := t.wanted(of, name, value)
		if err != nil {
			return err
		}
		if !hasBody {
			if e[4] == "set" {
				kind = strings.Replace(kind, "List", "Set", 1)
			}
			b.attributes[name] = attribute{kind: kind, required: wanted, computed: !wanted && oftenComputed[name]}
			continue
		}
		body, nesting, err := t.nested(fields[name], strings.TrimSuffix(kind, "List"))
		if err != nil {
			return err
		}
		if isBlock {
			b.blocks[name] = nested{body, nesting, wanted}
		} else {
			b.attributes[name] = attribute{body: body, nesting: nesting, required: wanted}
		}
	}
	return nil
}

// oftenComputed are attributes that may be set and have a value of their own
// otherwise, which the typings do not tell.
var oftenComputed = map[string]bool{"id": true, "region": true, "tags_all": true}

// wanted looks a property up in its interface: whether it must be given, and
// whether it is a block, which only its comment says.
func (t typing) wanted(of, name, value string) (required, isBlock bool, err error) {
	camel := property.FindStringSubmatch(value)
	members, found := between(t.types, "\nexport interface "+of+" ", "\n}\n")
	if camel == nil || !found {
		return false, false, fmt.Errorf("%s of %s: no property, or no interface", name, of)
	}
	before, _, required := strings.Cut(members, "\n    readonly "+camel[1]+":")
	if !required {
		var optional bool
		if before, _, optional = strings.Cut(members, "\n    readonly "+camel[1]+"?:"); !optional {
			return false, false, fmt.Errorf("%s: no %s in the interface %s", name, camel[1], of)
		}
	}
	comment := before[strings.LastIndex(before, "/**")+1:]
	return required, strings.Contains(comment, "* "+name+" block\n"), nil
}

// nested reads the class of a block or an object, which a field holds; a
// provider's are in none, and it has lists only.
func (t typing) nested(holder []string, name string) (*block, nesting, error) {
	if holder == nil {
		body, err := t.providerBlock(name)
		return body, list, err
	}
	class, isList := strings.CutSuffix(holder[1], "List")
	class = strings.TrimSuffix(class, "OutputReference")
	body, err := t.body(class+"OutputReference", class)
	text, _ := between(t.js, "\nclass "+class+"OutputReference extends ", "\n}\n")
	switch {
	case isList && holder[3] != "":
		return body, set, err
	case isList:
		return body, list, err
	case indexed.MatchString(text):
		return body, one, err
	}
	return body, single, err
}

func (t typing) providerBlock(name string) (*block, error) {
	text, found := between(t.js, "\nfunction "+strings.ToLower(name[:1])+name[1:]+"ToHclTerraform(struct) {\n", "\n}\n")
	if !found {
		return nil, fmt.Errorf("no function for %s", name)
	}
	b := &block{map[string]attribute{}, map[string]nested{}}
	return b, t.addSettable(b, text, name, nil)
}

func (t typing) addComputed(b *block, methods string, fields map[string][]string) error {
	for _, g := range getter.FindAllStringSubmatch(methods, -1) {
		found := remote.FindStringSubmatch(g[1])
		if found == nil {
			continue
		}
		if _, known := b.attributes[found[2]]; known {
			continue
		}
		kind := strings.ToLower(found[1][:1]) + found[1][1:]
		if kind == "list" {
			kind = "stringList"
		}
		if strings.Contains(g[1], "Fn.tolist(") {
			kind = strings.Replace(kind, "List", "Set", 1)
		}
		b.attributes[found[2]] = attribute{kind: kind, computed: true}
	}
	for name, holder := range fields {
		_, isAttribute := b.attributes[name]
		_, isBlock := b.blocks[name]
		if isAttribute || isBlock {
			continue
		}
		body, nesting, err := t.nested(holder, "")
		if err != nil {
			return err
		}
		b.attributes[name] = attribute{body: body, nesting: nesting, computed: true}
	}
	return nil
}
