package main

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// provider answers what validate, plan, apply and destroy ask. Nothing exists
// but what Terraform's own state says.
type provider struct {
	tfprotov6.ProviderServer // nil: what is not answered here is not asked for

	name    string
	schemas *schemas
	region  string
}

// mistake is an answer that Terraform shows.
func mistake(err error) []*tfprotov6.Diagnostic {
	if err == nil {
		return nil
	}
	return []*tfprotov6.Diagnostic{{Severity: tfprotov6.DiagnosticSeverityError, Summary: "The stand-in for the provider failed", Detail: err.Error()}}
}

// GetProviderSchema gives all schemas.
func (p *provider) GetProviderSchema(context.Context, *tfprotov6.GetProviderSchemaRequest) (*tfprotov6.GetProviderSchemaResponse, error) {
	config, err := p.schemas.config.schema()
	out := &tfprotov6.GetProviderSchemaResponse{
		Provider: config, ServerCapabilities: &tfprotov6.ServerCapabilities{PlanDestroy: false},
		ResourceSchemas: map[string]*tfprotov6.Schema{}, DataSourceSchemas: map[string]*tfprotov6.Schema{},
	}
	if err != nil {
		return nil, err
	}
	for name, b := range p.schemas.resources {
		if out.ResourceSchemas[name], err = b.schema(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, b := range p.schemas.data {
		if out.DataSourceSchemas[name], err = b.schema(); err != nil {
			return nil, fmt.Errorf("data %s: %w", name, err)
		}
	}
	return out, nil
}

// ValidateProviderConfig has nothing to add to the schema.
func (p *provider) ValidateProviderConfig(_ context.Context, in *tfprotov6.ValidateProviderConfigRequest) (*tfprotov6.ValidateProviderConfigResponse, error) {
	return &tfprotov6.ValidateProviderConfigResponse{PreparedConfig: in.Config}, nil
}

// ValidateResourceConfig has nothing to add to the schema.
func (p *provider) ValidateResourceConfig(context.Context, *tfprotov6.ValidateResourceConfigRequest) (*tfprotov6.ValidateResourceConfigResponse, error) {
	return &tfprotov6.ValidateResourceConfigResponse{}, nil
}

// ValidateDataResourceConfig has nothing to add to the schema.
func (p *provider) ValidateDataResourceConfig(context.Context, *tfprotov6.ValidateDataResourceConfigRequest) (*tfprotov6.ValidateDataResourceConfigResponse, error) {
	return &tfprotov6.ValidateDataResourceConfigResponse{}, nil
}

// ConfigureProvider learns the region.
func (p *provider) ConfigureProvider(_ context.Context, in *tfprotov6.ConfigureProviderRequest) (*tfprotov6.ConfigureProviderResponse, error) {
	if _, has := p.schemas.config.attributes["region"]; !has {
		return &tfprotov6.ConfigureProviderResponse{}, nil
	}
	value, err := p.decode(p.schemas.config, in.Config)
	if err == nil {
		p.region = textOf(value, "region", p.region)
	}
	return &tfprotov6.ConfigureProviderResponse{Diagnostics: mistake(err)}, nil
}

// StopProvider has nothing to stop.
func (p *provider) StopProvider(context.Context, *tfprotov6.StopProviderRequest) (*tfprotov6.StopProviderResponse, error) {
	return &tfprotov6.StopProviderResponse{}, nil
}

// UpgradeResourceState reads a state, which always has today's schema.
func (p *provider) UpgradeResourceState(_ context.Context, in *tfprotov6.UpgradeResourceStateRequest) (*tfprotov6.UpgradeResourceStateResponse, error) {
	out := &tfprotov6.UpgradeResourceStateResponse{}
	kind, err := valueType(p.schemas.resources[in.TypeName])
	if err == nil {
		var value tftypes.Value
		if value, err = in.RawState.Unmarshal(kind); err == nil {
			out.UpgradedState, err = encode(value)
		}
	}
	out.Diagnostics = mistake(err)
	return out, nil
}

// ReadResource finds everything as it was left.
func (p *provider) ReadResource(_ context.Context, in *tfprotov6.ReadResourceRequest) (*tfprotov6.ReadResourceResponse, error) {
	return &tfprotov6.ReadResourceResponse{NewState: in.CurrentState, Private: in.Private}, nil
}

// PlanResourceChange leaves open what only the provider would know.
func (p *provider) PlanResourceChange(_ context.Context, in *tfprotov6.PlanResourceChangeRequest) (*tfprotov6.PlanResourceChangeResponse, error) {
	b := p.schemas.resources[in.TypeName]
	out := &tfprotov6.PlanResourceChangeResponse{PlannedPrivate: in.PriorPrivate}
	value, err := p.decode(b, in.ProposedNewState)
	if err == nil && !value.IsNull() {
		value, err = tftypes.Transform(value, func(path *tftypes.AttributePath, v tftypes.Value) (tftypes.Value, error) {
			if v.IsNull() && b.computes(path) {
				return tftypes.NewValue(v.Type(), tftypes.UnknownValue), nil
			}
			return v, nil
		})
	}
	if err == nil {
		out.PlannedState, err = encode(value)
	}
	out.Diagnostics = mistake(err)
	return out, nil
}

// ApplyResourceChange makes up what was left open.
func (p *provider) ApplyResourceChange(_ context.Context, in *tfprotov6.ApplyResourceChangeRequest) (*tfprotov6.ApplyResourceChangeResponse, error) {
	out := &tfprotov6.ApplyResourceChangeResponse{Private: in.PlannedPrivate}
	value, err := p.decode(p.schemas.resources[in.TypeName], in.PlannedState)
	if err == nil && !value.IsNull() {
		value, err = p.settle(in.TypeName, value)
	}
	if err == nil {
		out.NewState, err = encode(value)
	}
	out.Diagnostics = mistake(err)
	return out, nil
}

// ReadDataSource makes up all that the configuration does not give.
func (p *provider) ReadDataSource(_ context.Context, in *tfprotov6.ReadDataSourceRequest) (*tfprotov6.ReadDataSourceResponse, error) {
	b := p.schemas.data[in.TypeName]
	out := &tfprotov6.ReadDataSourceResponse{}
	value, err := p.decode(b, in.Config)
	if err == nil {
		value, err = tftypes.Transform(value, func(path *tftypes.AttributePath, v tftypes.Value) (tftypes.Value, error) {
			if v.IsNull() && b.computes(path) {
				return tftypes.NewValue(v.Type(), tftypes.UnknownValue), nil
			}
			return v, nil
		})
	}
	if err == nil {
		value, err = p.settle("data."+in.TypeName, value)
	}
	if err == nil {
		out.State, err = encode(value)
	}
	out.Diagnostics = mistake(err)
	return out, nil
}

func valueType(b *block) (tftypes.Type, error) {
	schema, err := b.schema()
	if err != nil {
		return nil, err
	}
	return schema.ValueType(), nil
}

func (p *provider) decode(b *block, in *tfprotov6.DynamicValue) (tftypes.Value, error) {
	kind, err := valueType(b)
	if err != nil {
		return tftypes.Value{}, err
	}
	return in.Unmarshal(kind)
}

func encode(value tftypes.Value) (*tfprotov6.DynamicValue, error) {
	out, err := tfprotov6.NewDynamicValue(value.Type(), value)
	return &out, err
}
