import { defineContract, id, jwksOperation, openApiOperation, openApiOperationOf, strict, timestamp } from '@fairlead/chassis'
import { z } from 'zod'
import { money } from '../money.ts'

const characters = (text: string) => [...text].length

// One @, no white space or control characters, a dot in the domain: the address is a name here, nobody is mailed.
const email = z
  .string()
  .regex(
    /^[^\s@\u0000-\u001f\u007f"<>]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?){1,5}$/,
    'is not an e-mail address',
  )
  .refine(text => characters(text) <= 254, 'is longer than 254 characters')
  .meta({ maxLength: 254 })

const name = z
  .string()
  .regex(/^(?=.*\S)[^\u0000-\u001f\u007f]*$/, 'is blank or has control characters')
  .refine(text => characters(text) <= 100, 'is longer than 100 characters')
  .meta({ maxLength: 100 })

/** Any Unicode, compared in NFC and never cut. Too short or too common is `weak-password`, which the handler decides. */
const password = z
  .string()
  .regex(/^[^\u0000]*$/, 'has a NUL character')
  .refine(text => characters(text.normalize('NFC')) <= 256, 'is longer than 256 characters')
  .meta({ maxLength: 256 })

/** Room for the longest e-mail address, name and two passwords, with every character of them escaped. */
const LARGEST = 16_384

const refreshToken = z.string().regex(/^[A-Za-z0-9_-]{43}$/, 'is not a refresh token')

const userShape = strict({ id, email: z.string(), name: z.string(), createdAt: timestamp }).meta({ title: 'User' })
const tokens = strict({ accessToken: z.string(), refreshToken: z.string(), tokenType: z.literal('Bearer'), expiresIn: z.int() }).meta({
  title: 'Tokens',
})
const credit = strict({ limit: money, reserved: money, available: money }).meta({ title: 'Credit' })
const reservation = strict({ orderId: id, userId: id, total: money, state: z.literal('reserved') }).meta({ title: 'Reservation' })

export type User = z.infer<typeof userShape>

const exampleUser = { id: '0193a0c2-5a3e-7cc1-9d5e-6a1f0c2b4d10', email: 'ada@example.org', name: 'Ada', createdAt: '2026-11-24T09:30:00.000Z' }
const exampleTokens = {
  accessToken: 'eyJhbGciOiJFZERTQSJ9...',
  refreshToken: 'Yk3mPq0w5S6d1u9JtYh2aZxV8bC4nE7fG0iK1lM2oR3',
  tokenType: 'Bearer',
  expiresIn: 300,
} as const
const exampleCredit = {
  limit: { amount: 100_000, currency: 'EUR' },
  reserved: { amount: 0, currency: 'EUR' },
  available: { amount: 100_000, currency: 'EUR' },
}
const exampleTotal = { amount: 12_900, currency: 'EUR' }
const exampleOrderId = '0193a0c2-7b11-7a44-8f0e-2d3c4b5a6978'

export const userContract = defineContract({
  register: {
    method: 'POST',
    path: '/users',
    summary: 'Register',
    auth: 'none',
    body: strict({ email, password, name }),
    bodyExample: { email: 'ada@example.org', password: 'correct horse battery', name: 'Ada' },
    maxBodyBytes: LARGEST,
    responses: { 201: { description: 'The new user', body: userShape, headers: { Location: 'Path of the user' }, example: exampleUser } },
    problems: { 400: ['weak-password'], 409: ['email-taken'], 429: ['too-many-attempts'] },
  },
  logIn: {
    method: 'POST',
    path: '/sessions',
    summary: 'Log in',
    auth: 'none',
    body: strict({
      email: z
        .string()
        .regex(/^[^\u0000]*$/)
        .max(1_000),
      password,
    }),
    bodyExample: { email: 'ada@example.org', password: 'correct horse battery' },
    maxBodyBytes: LARGEST,
    responses: { 201: { description: 'Tokens of a new session', body: tokens, example: exampleTokens } },
    problems: { 401: ['bad-credentials'], 429: ['too-many-attempts'] },
  },
  refresh: {
    method: 'POST',
    path: '/sessions/refresh',
    summary: 'Trade a refresh token for new tokens; each works once',
    auth: 'none',
    body: strict({ refreshToken }),
    bodyExample: { refreshToken: exampleTokens.refreshToken },
    maxBodyBytes: 1_024,
    responses: { 201: { description: 'New tokens of the same session', body: tokens, example: exampleTokens } },
    problems: { 401: ['refresh-reused', 'refresh-invalid'] },
  },
  logOut: {
    method: 'DELETE',
    path: '/sessions/current',
    summary: 'End the session of this access token',
    auth: 'user',
    responses: { 204: { description: 'Ended' } },
  },
  getMe: {
    method: 'GET',
    path: '/users/me',
    summary: 'The user of this access token',
    auth: 'user',
    responses: { 200: { description: 'The user', body: userShape, example: exampleUser } },
  },
  changeMe: {
    method: 'PATCH',
    path: '/users/me',
    summary: 'Change the name',
    auth: 'user',
    body: strict({ name }),
    bodyExample: { name: 'Ada Lovelace' },
    maxBodyBytes: 4_096,
    responses: { 200: { description: 'The user after the change', body: userShape, example: exampleUser } },
  },
  changePassword: {
    method: 'PUT',
    path: '/users/me/password',
    summary: 'Change the password, which ends every other session',
    auth: 'user',
    body: strict({ oldPassword: password, newPassword: password }),
    bodyExample: { oldPassword: 'correct horse battery', newPassword: 'staple of the battery' },
    maxBodyBytes: LARGEST,
    responses: { 204: { description: 'Changed' } },
    problems: { 400: ['weak-password'], 401: ['bad-credentials'], 429: ['too-many-attempts'] },
  },
  getCredit: {
    method: 'GET',
    path: '/users/me/credit',
    summary: 'Credit of the user of this access token',
    auth: 'user',
    responses: { 200: { description: 'Limit, what orders hold, and what is left', body: credit, example: exampleCredit } },
  },
  getKeys: jwksOperation,
  reserveCredit: {
    method: 'PUT',
    path: '/reservations/{orderId}',
    summary: 'Hold credit for an order; the first decision for an order is final and every repeat tells it again',
    auth: 'workload',
    params: z.object({ orderId: id }),
    body: strict({ userId: id, total: money }),
    bodyExample: { userId: exampleUser.id, total: exampleTotal },
    maxBodyBytes: 1_024,
    responses: {
      200: {
        description: 'Held',
        body: reservation,
        example: { orderId: exampleOrderId, userId: exampleUser.id, total: exampleTotal, state: 'reserved' },
      },
    },
    problems: { 404: ['unknown-user'], 409: ['reservation-mismatch', 'reservation-released'], 422: ['credit-exceeded'] },
  },
  releaseCredit: {
    method: 'DELETE',
    path: '/reservations/{orderId}',
    summary: 'Give the credit of an order back, or refuse it beforehand',
    auth: 'workload',
    params: z.object({ orderId: id }),
    responses: { 204: { description: 'Nothing is held for this order, and nothing will be' } },
  },
  getOpenApi: openApiOperation,
  getOpenApiByName: openApiOperationOf('user'),
})
